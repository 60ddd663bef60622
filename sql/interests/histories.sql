-- History S of users at moments: the $history_clusters clusters in which they most recently had a positive event
-- strictly before the moment (ties: lower id), sorted by id. A user who has fewer has no history and no row.
-- Mining, replay, random exposures and impressions of another taxonomy all read this one relation.
-- Reads past, and moments (user_id, ts, history): those that bring no history of their own, on wanted_days.
WITH asked AS (
    SELECT DISTINCT user_id, ts FROM moments
    WHERE history IS NULL
),

-- Of days that are not wanted, the latest positive event is enough: no moment falls on them.
positives AS (
    SELECT past.user_id, past.cluster_id, past.last_positive_ts AS ts
    FROM past
    WHERE past.last_positive_ts IS NOT NULL
        AND past.user_id IN (SELECT asked.user_id FROM asked)
    UNION
    SELECT events.user_id, item_clusters.cluster_id, events.ts
    FROM raw.events AS events
    INNER JOIN interests.item_clusters AS item_clusters ON events.item_id = item_clusters.item_id
    WHERE events.positive
        AND events.day IN (SELECT wanted_days.day FROM wanted_days)
        AND events.user_id IN (SELECT asked.user_id FROM asked)
),

liked_clusters AS (
    SELECT DISTINCT user_id, cluster_id FROM positives
),

possible AS (
    SELECT asked.user_id, asked.ts, liked_clusters.cluster_id
    FROM asked
    INNER JOIN liked_clusters ON asked.user_id = liked_clusters.user_id
),

ranked AS (
    SELECT
        possible.user_id,
        possible.ts,
        possible.cluster_id,
        row_number() OVER (
            PARTITION BY possible.user_id, possible.ts ORDER BY positives.ts DESC, possible.cluster_id ASC
        ) AS place
    FROM possible
    ASOF INNER JOIN positives
        ON possible.user_id = positives.user_id
        AND possible.cluster_id = positives.cluster_id
        AND possible.ts > positives.ts
)

SELECT user_id, ts, list_sort(list(cluster_id)) AS history
FROM ranked
WHERE place <= $history_clusters
GROUP BY user_id, ts
HAVING count(*) = $history_clusters
