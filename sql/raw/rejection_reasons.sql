-- Rejected landing rows by kind and reason, the most frequent first.
SELECT kind, reason, count(*) AS rows
FROM raw.rejected_rows
GROUP BY kind, reason
ORDER BY count(*) DESC, kind ASC, reason ASC
