-- feedback.transition_users: impressions and outcomes of one day by history S, served cluster, and user.
-- $source: 'logged' (every impression), 'random' (policy 'random' alone) or 'replay' (first interactions of
-- $replay_share of the users). Impressions logged under another taxonomy or under none, or that name clusters which do
-- not exist, are carried over: the cluster follows from the item, S from the user's days before. Where that is not
-- possible they are left out, and feedback.left_out_impressions counts them.
WITH impressions AS (
    SELECT
        logs.*,
        coalesce(
            logs.taxonomy_version = $taxonomy_version
            AND len(logs.history) = $history_clusters
            AND list_has_all(
                (SELECT list(clusters.cluster_id) FROM interests.clusters AS clusters),
                list_append(logs.history, logs.cluster_id)
            ),
            FALSE
        ) AS standing
    FROM raw.feedback_logs AS logs
    WHERE logs.day IN (SELECT wanted_days.day FROM wanted_days)
        AND ($source = 'logged' OR ($source = 'random' AND logs.policy = 'random'))
),

foreign_users AS (
    SELECT DISTINCT day, user_id FROM impressions
    WHERE NOT standing
),

latest_positives AS (
    SELECT foreign_users.day, foreign_users.user_id, past.cluster_id, max(past.last_positive_ts) AS ts
    FROM foreign_users
    INNER JOIN interests.user_cluster_days AS past
        ON foreign_users.user_id = past.user_id AND foreign_users.day > past.day
    WHERE past.last_positive_ts IS NOT NULL AND past.taxonomy_version = $taxonomy_version
    GROUP BY foreign_users.day, foreign_users.user_id, past.cluster_id
),

ranked_positives AS (
    SELECT *, row_number() OVER (PARTITION BY day, user_id ORDER BY ts DESC, cluster_id ASC) AS place
    FROM latest_positives
),

histories AS (
    SELECT day, user_id, list_sort(list(cluster_id)) AS history
    FROM ranked_positives
    WHERE place <= $history_clusters
    GROUP BY day, user_id
    HAVING count(*) = $history_clusters
),

exposures AS (
    SELECT day, history, cluster_id, user_id, liked, shared, completed, skipped, positive
    FROM impressions
    WHERE standing
    UNION ALL
    SELECT
        impressions.day,
        histories.history,
        item_clusters.cluster_id,
        impressions.user_id,
        impressions.liked,
        impressions.shared,
        impressions.completed,
        impressions.skipped,
        impressions.positive
    FROM impressions
    INNER JOIN interests.item_clusters AS item_clusters ON impressions.item_id = item_clusters.item_id
    INNER JOIN histories ON impressions.day = histories.day AND impressions.user_id = histories.user_id
    WHERE NOT impressions.standing
    UNION ALL
    SELECT day, history, cluster_id, user_id, liked, shared, completed, skipped, positive
    FROM interests.first_interactions
    WHERE $source = 'replay'
        AND day IN (SELECT wanted_days.day FROM wanted_days)
        AND CAST(concat('0x', substr(md5(user_id), 1, 8)) AS BIGINT) / 4294967296.0 < $replay_share
)

SELECT
    day,
    $taxonomy_version AS taxonomy_version,
    history,
    cluster_id,
    user_id,
    count(*) AS impressions,
    sum(CASE WHEN positive THEN 1 ELSE 0 END) AS positives,
    sum(CASE WHEN liked THEN 1 ELSE 0 END) AS likes,
    sum(CASE WHEN shared THEN 1 ELSE 0 END) AS shares,
    sum(CASE WHEN completed THEN 1 ELSE 0 END) AS completions,
    sum(CASE WHEN skipped THEN 1 ELSE 0 END) AS skips
FROM exposures
WHERE NOT list_contains(history, cluster_id)
GROUP BY day, history, cluster_id, user_id
