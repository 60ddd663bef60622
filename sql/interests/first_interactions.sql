-- interests.first_interactions: a user's first interaction ever with a cluster, positive or not, with the history S
-- before it.
-- S: the $history_clusters clusters with the latest positive event strictly before that moment (ties: lower id), sorted
-- by id. A user who has fewer has no history yet and no row.
WITH first_days AS (
    SELECT taxonomy_version, user_id, cluster_id, min(day) AS day
    FROM interests.user_cluster_days
    WHERE taxonomy_version = $taxonomy_version
    GROUP BY taxonomy_version, user_id, cluster_id
),

day_events AS (
    SELECT events.*, item_clusters.cluster_id
    FROM raw.events AS events
    INNER JOIN interests.item_clusters AS item_clusters ON events.item_id = item_clusters.item_id
    WHERE events.day IN (SELECT wanted_days.day FROM wanted_days)
),

first_events AS (
    SELECT
        day_events.*,
        first_days.taxonomy_version,
        row_number() OVER (
            PARTITION BY day_events.user_id, day_events.cluster_id ORDER BY day_events.ts, day_events.item_id
        ) AS place
    FROM day_events
    INNER JOIN first_days
        ON day_events.user_id = first_days.user_id
        AND day_events.cluster_id = first_days.cluster_id
        AND day_events.day = first_days.day
),

touches AS (
    SELECT * FROM first_events
    WHERE place = 1
),

positive_moments AS (
    -- The days before, one row per user, cluster and day ...
    SELECT touches.user_id, touches.cluster_id, past.cluster_id AS past_cluster_id, past.last_positive_ts AS ts
    FROM touches
    INNER JOIN interests.user_cluster_days AS past
        ON touches.user_id = past.user_id
        AND touches.day > past.day
        AND touches.taxonomy_version = past.taxonomy_version
    WHERE past.last_positive_ts IS NOT NULL
    UNION ALL
    -- ... and the day's own events up to the moment.
    SELECT touches.user_id, touches.cluster_id, same_day.cluster_id AS past_cluster_id, same_day.ts
    FROM touches
    INNER JOIN day_events AS same_day
        ON touches.user_id = same_day.user_id
        AND touches.day = same_day.day
        AND touches.ts > same_day.ts
    WHERE same_day.positive
),

latest_positives AS (
    SELECT user_id, cluster_id, past_cluster_id, max(ts) AS ts
    FROM positive_moments
    GROUP BY user_id, cluster_id, past_cluster_id
),

ranked_positives AS (
    SELECT *, row_number() OVER (PARTITION BY user_id, cluster_id ORDER BY ts DESC, past_cluster_id ASC) AS place
    FROM latest_positives
),

histories AS (
    SELECT user_id, cluster_id, list_sort(list(past_cluster_id)) AS history
    FROM ranked_positives
    WHERE place <= $history_clusters
    GROUP BY user_id, cluster_id
    HAVING count(*) = $history_clusters
)

SELECT
    touches.day,
    touches.taxonomy_version,
    touches.user_id,
    histories.history,
    touches.cluster_id,
    touches.item_id,
    touches.ts,
    touches.watch_s,
    touches.completed,
    touches.liked,
    touches.shared,
    touches.skipped,
    touches.positive,
    EXISTS(
        SELECT 1
        FROM raw.feedback_logs AS impressions
        WHERE impressions.user_id = touches.user_id
            AND impressions.item_id = touches.item_id
            AND impressions.ts <= touches.ts
            AND impressions.ts >= touches.ts - to_minutes(CAST($attribution_minutes AS BIGINT))
    ) AS explored
FROM touches
INNER JOIN histories ON touches.user_id = histories.user_id AND touches.cluster_id = histories.cluster_id
