-- Days on which landing rows of $kinds were rejected.
SELECT DISTINCT day
FROM raw.rejected_rows
WHERE list_contains($kinds, kind)
