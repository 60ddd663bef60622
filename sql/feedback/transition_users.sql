-- feedback.transition_users: impressions and outcomes of one day by history S, served cluster, and user.
-- Reads exposures.
SELECT
    day,
    $taxonomy_version AS taxonomy_version,
    history,
    cluster_id,
    user_id,
    novel,
    count(*) AS impressions,
    sum(CASE WHEN positive THEN 1 ELSE 0 END) AS positives,
    sum(CASE WHEN liked THEN 1 ELSE 0 END) AS likes,
    sum(CASE WHEN shared THEN 1 ELSE 0 END) AS shares,
    sum(CASE WHEN completed THEN 1 ELSE 0 END) AS completions,
    sum(CASE WHEN skipped THEN 1 ELSE 0 END) AS skips
FROM exposures
GROUP BY day, history, cluster_id, user_id, novel
