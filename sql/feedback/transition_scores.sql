-- feedback.transition_scores, before the statistics: the cells (S, C_n) of the window from $first_day to $as_of.
-- Distinct users are counted over the window, never summed over its days. One column of counts per signal; what was not
-- skipped counts, so that more is better for every signal.
SELECT
    history,
    cluster_id,
    sum(impressions) AS impressions,
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
GROUP BY history, cluster_id
ORDER BY history, cluster_id
