-- Days of one raw log whose rows were pruned. $kind: 'events' or 'feedback'.
SELECT DISTINCT day
FROM raw.pruned_items
WHERE kind = $kind
ORDER BY day
