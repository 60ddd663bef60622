-- The positive events that histories at moments follow from.
-- Reads past, and moments (user_id, ts, history): those that bring no history of their own, on wanted_days.
WITH asking AS (
    SELECT DISTINCT user_id FROM moments
    WHERE history IS NULL
)

-- Of days that are not wanted, the latest positive event is enough: no moment falls on them.
SELECT past.user_id, past.cluster_id, past.last_positive_ts AS ts
FROM past
WHERE past.last_positive_ts IS NOT NULL
    AND past.user_id IN (SELECT asking.user_id FROM asking)
UNION
SELECT events.user_id, item_clusters.cluster_id, events.ts
FROM raw.events AS events
INNER JOIN interests.item_clusters AS item_clusters ON events.item_id = item_clusters.item_id
WHERE events.positive
    AND events.day IN (SELECT wanted_days.day FROM wanted_days)
    AND events.user_id IN (SELECT asking.user_id FROM asking)
