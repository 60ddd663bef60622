-- evaluation.later_cells: the cells of the days after $as_of, which no training has seen.
SELECT
    history,
    cluster_id,
    sum(impressions) AS impressions,
    count(DISTINCT user_id) AS users,
    sum(positives) AS positives
FROM feedback.transition_users
WHERE day > $as_of
    AND taxonomy_version = $taxonomy_version
GROUP BY history, cluster_id
ORDER BY history, cluster_id
