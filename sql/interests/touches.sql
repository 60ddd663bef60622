-- The first event ever of a user with a cluster, positive or not, where it falls on wanted_days; ties: lower item id.
-- history is null: no event brings its own.
-- Reads past.
WITH first_moments AS (
    SELECT user_id, cluster_id, min(first_ts) AS ts
    FROM past
    GROUP BY user_id, cluster_id
),

day_events AS (
    SELECT events.*, item_clusters.cluster_id
    FROM raw.events AS events
    INNER JOIN interests.item_clusters AS item_clusters ON events.item_id = item_clusters.item_id
    WHERE events.day IN (SELECT wanted_days.day FROM wanted_days)
),

ranked AS (
    SELECT
        day_events.*,
        row_number() OVER (PARTITION BY day_events.user_id, day_events.cluster_id ORDER BY day_events.item_id) AS place
    FROM day_events
    INNER JOIN first_moments
        ON day_events.user_id = first_moments.user_id
        AND day_events.cluster_id = first_moments.cluster_id
        AND day_events.ts = first_moments.ts
)

SELECT
    day,
    user_id,
    cluster_id,
    item_id,
    ts,
    watch_s,
    completed,
    liked,
    shared,
    skipped,
    positive,
    CAST(NULL AS INTEGER[]) AS history
FROM ranked
WHERE place = 1
