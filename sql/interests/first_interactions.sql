-- interests.first_interactions: a user's first interaction ever with a cluster, positive or not, with the history S
-- before it. Who has no history yet has no row.
-- explored: the cluster was shown to the user as exploration less than $explored_minutes before.
-- Reads moments (interests.touches) and histories.
SELECT
    moments.day,
    $taxonomy_version AS taxonomy_version,
    moments.user_id,
    histories.history,
    moments.cluster_id,
    moments.item_id,
    moments.ts,
    moments.watch_s,
    moments.completed,
    moments.liked,
    moments.shared,
    moments.skipped,
    moments.positive,
    coalesce(shown.ts > moments.ts - to_minutes(CAST($explored_minutes AS BIGINT)), FALSE) AS explored
FROM moments
INNER JOIN histories ON moments.user_id = histories.user_id AND moments.ts = histories.ts
LEFT JOIN (
    SELECT touches.user_id, touches.cluster_id, max(impressions.ts) AS ts
    FROM moments AS touches
    INNER JOIN (
        SELECT logs.user_id, item_clusters.cluster_id, logs.ts
        FROM raw.feedback_logs AS logs
        INNER JOIN interests.item_clusters AS item_clusters ON logs.item_id = item_clusters.item_id
    ) AS impressions
        ON touches.user_id = impressions.user_id
        AND touches.cluster_id = impressions.cluster_id
        AND touches.ts >= impressions.ts
    GROUP BY touches.user_id, touches.cluster_id
) AS shown
    ON moments.user_id = shown.user_id AND moments.cluster_id = shown.cluster_id
