-- Exploration impressions of wanted_days that may count as feedback, with the cluster served under the standing
-- taxonomy.
-- What was logged stands if it names that taxonomy, clusters that exist (ids run from 0 to the largest), and K of them
-- as the history. Otherwise the cluster follows from the item, and history is null: S follows from the user's days.
-- $source: 'logged' (every impression), 'random' (policy 'random' alone) or 'replay' (none of them).
-- $taxonomy_version, $history_clusters.
SELECT
    logs.day,
    logs.user_id,
    logs.ts,
    logs.policy,
    logs.final,
    logs.liked,
    logs.shared,
    logs.completed,
    logs.skipped,
    logs.positive,
    CASE WHEN logs.standing THEN logs.history END AS history,
    CASE WHEN logs.standing THEN logs.cluster_id ELSE item_clusters.cluster_id END AS cluster_id
FROM (
    SELECT
        *,
        taxonomy_version = $taxonomy_version
        AND len(history) = $history_clusters
        AND list_max(list_append(history, cluster_id)) <= (SELECT max(cluster_id) FROM interests.clusters)
        AND cluster_id IS NOT NULL AS standing
    FROM raw.feedback_logs
    WHERE day IN (SELECT wanted_days.day FROM wanted_days)
        AND ($source = 'logged' OR ($source = 'random' AND policy = 'random'))
) AS logs
LEFT JOIN interests.item_clusters AS item_clusters ON logs.item_id = item_clusters.item_id
