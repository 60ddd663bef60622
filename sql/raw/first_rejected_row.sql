-- The first rejected landing row by file and row, as an example.
SELECT file, row_number, reason
FROM raw.rejected_rows
ORDER BY file, row_number
LIMIT 1
