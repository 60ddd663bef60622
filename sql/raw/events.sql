-- What users did anywhere on the platform: the valid rows of checked_events, once each. `positive` is derived where it
-- is absent.
-- Reads checked_events and raw.items.
-- $watch_share, $rating_at_least: thresholds, null for none; $liked, $completed: whether these count; $when_unknown:
-- whether an event without any signal is positive.
SELECT
    event.day,
    event.user_id,
    event.item_id,
    event.ts,
    event.watch_s,
    event.rating,
    event.completed,
    event.liked,
    event.shared,
    event.skipped,
    CASE
        WHEN event.positive IS NOT NULL THEN event.positive
        WHEN ($liked AND event.liked)
            OR ($completed AND event.completed)
            OR event.rating >= CAST($rating_at_least AS DOUBLE)
            -- A duration of 0 is an unknown one: any watch would be long enough.
            OR event.watch_s >= CAST($watch_share AS DOUBLE) * nullif(item.duration_s, 0)
            THEN TRUE
        WHEN event.watch_s IS NULL AND event.rating IS NULL
            AND coalesce(event.completed, event.liked, event.shared, event.skipped) IS NULL
            THEN CAST($when_unknown AS BOOLEAN)
        ELSE FALSE
    END AS positive
FROM checked_events AS event
LEFT JOIN raw.items AS item ON event.item_id = item.item_id
WHERE event.reason IS NULL AND NOT event.duplicate
ORDER BY event.day
