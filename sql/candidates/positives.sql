-- When users last had a positive event in each cluster, of all days.
-- $taxonomy_version.
SELECT user_id, cluster_id, max(last_positive_ts) AS ts
FROM interests.user_cluster_days
WHERE taxonomy_version = $taxonomy_version AND last_positive_ts IS NOT NULL
GROUP BY user_id, cluster_id
