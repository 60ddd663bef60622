-- What each wanted day of a raw log took from the catalogue: one number that changes when an item of the day goes, or
-- gets another duration (the rule for positive playback reads it). A day whose rows were pruned has kept its items for
-- this.
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
