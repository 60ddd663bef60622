-- evaluation.cells_of_some_users: the cells of a share of the users, in the window from $first_day to $as_of.
-- A user is in or out by a hash of the id: a larger share holds all users of a smaller one.
SELECT
    history,
    cluster_id,
    sum(impressions) AS impressions,
    count(DISTINCT user_id) AS users,
    sum(positives) AS positives
FROM feedback.transition_users
WHERE day >= $first_day
    AND day <= $as_of
    AND taxonomy_version = $taxonomy_version
    AND md5_number_lower(user_id) % 1000000 < CAST($share AS DOUBLE) * 1000000
GROUP BY history, cluster_id
ORDER BY history, cluster_id
