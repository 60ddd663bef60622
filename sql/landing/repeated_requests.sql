-- Hashes of every request and item that more than one row of landing_feedback names: the few rows that have to be compared.
SELECT hash(request_id, item_id) AS request_item
FROM landing_feedback
WHERE request_id IS NOT NULL AND item_id IS NOT NULL
GROUP BY request_item
HAVING count(*) > 1
