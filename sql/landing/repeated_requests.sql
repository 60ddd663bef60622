-- Hashes of each request and item that more than one row of landing_feedback names: only these rows have to be
-- compared.
SELECT hash(request_id, item_id) AS request_item
FROM landing_feedback
GROUP BY request_item
HAVING count(*) > 1
