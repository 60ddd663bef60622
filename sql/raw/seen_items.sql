-- What each of wanted_days of a raw log depends on in the catalogue: one number that changes when an item of the day is
-- removed, or gets another duration (which the rule for positive playback reads). The items of pruned days are kept in
-- raw.pruned_items.
-- $kind: 'events' or 'feedback'.
WITH logs AS (
    SELECT DISTINCT day, item_id
    FROM raw.events
    WHERE $kind = 'events' AND day IN (SELECT wanted_days.day FROM wanted_days)
    UNION ALL
    SELECT DISTINCT day, item_id
    FROM raw.feedback_logs
    WHERE $kind = 'feedback' AND day IN (SELECT wanted_days.day FROM wanted_days)
    UNION ALL
    SELECT day, item_id
    FROM raw.pruned_items
    WHERE kind = $kind AND day IN (SELECT wanted_days.day FROM wanted_days)
)

SELECT logs.day, bit_xor(hash(logs.item_id, items.item_id, items.duration_s)) AS signature
FROM logs
LEFT JOIN raw.items AS items ON logs.item_id = items.item_id
GROUP BY logs.day
