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

-- Every moment beside each cluster that the user ever liked, in the order of time. A moment comes before the positive
-- events of its own time. (For 842,000 such pairs an ASOF join of DuckDB 2.0 took 50 s, and this 0.4 s.)
timeline AS (
    SELECT user_id, cluster_id, ts, TRUE AS is_positive FROM positives
    UNION ALL
    SELECT asked.user_id, liked_clusters.cluster_id, asked.ts, FALSE AS is_positive
    FROM asked
    INNER JOIN (SELECT DISTINCT user_id, cluster_id FROM positives) AS liked_clusters
        ON asked.user_id = liked_clusters.user_id
),

latest AS (
    SELECT
        *,
        max(CASE WHEN is_positive THEN ts END) OVER (
            PARTITION BY user_id, cluster_id
            ORDER BY ts ASC, is_positive ASC
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS positive_ts
    FROM timeline
),

ranked AS (
    SELECT
        user_id,
        ts,
        cluster_id,
        row_number() OVER (PARTITION BY user_id, ts ORDER BY positive_ts DESC, cluster_id ASC) AS place
    FROM latest
    WHERE NOT is_positive AND positive_ts IS NOT NULL
)

SELECT user_id, ts, list_sort(list(cluster_id)) AS history
FROM ranked
WHERE place <= $history_clusters
GROUP BY user_id, ts
HAVING count(*) = $history_clusters
