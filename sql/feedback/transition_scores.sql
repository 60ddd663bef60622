-- feedback.transition_scores, before the statistics: the cells (S, C_n) of the window from $first_day to $as_of.
-- $exposures: 'novel' (those of clusters that were novel to the user) or 'all'. $share: of the users, who are in or out
-- by a hash of their id, so that a larger share holds all users of a smaller one.
-- Distinct users are counted over the window, never summed over its days. One column of counts per signal; what was not
-- skipped counts, so that more is better for every signal.
SELECT
    history,
    cluster_id,
    sum(impressions) AS impressions,
    sum(CASE WHEN novel THEN impressions ELSE 0 END) AS novel_impressions,
    count(DISTINCT user_id) AS users,
    sum(positives) AS positive,
    sum(likes) AS liked,
    sum(shares) AS shared,
    sum(completions) AS completed,
    sum(impressions) - sum(skips) AS not_skipped
FROM feedback.transition_users
WHERE day >= $first_day
    AND day <= $as_of
    AND taxonomy_version = $taxonomy_version
    AND (novel OR $exposures = 'all')
    AND ($share = 1 OR md5_number_lower(user_id) % 1000000 < CAST($share AS DOUBLE) * 1000000)
GROUP BY history, cluster_id
ORDER BY history, cluster_id
