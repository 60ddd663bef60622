-- feedback.transition_scores, before the statistics: the cells (S, C_n) of the window that ends on $as_of.
-- Distinct users are counted over the window, never summed over its days.
SELECT
    history,
    cluster_id,
    sum(impressions) AS impressions,
    count(DISTINCT user_id) AS users,
    sum(
        CASE $signal
            WHEN 'positive' THEN positives
            WHEN 'like' THEN likes
            WHEN 'share' THEN shares
            WHEN 'completion' THEN completions
        END
    ) AS positives
FROM feedback.transition_users
WHERE day > $as_of - CAST($window_days AS INTEGER)
    AND day <= $as_of
    AND taxonomy_version = $taxonomy_version
GROUP BY history, cluster_id
ORDER BY history, cluster_id
