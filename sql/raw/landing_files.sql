-- Landing files that have been read, with their number of rows. `forgotten` counts rows of forgotten users, which no
-- other column counts.
-- Reads surveyed_files, surveyed_days and forgotten_rows. $kind.
WITH counted AS (
    SELECT file, sum(rows) AS rows
    FROM surveyed_days
    GROUP BY file
),

forgotten AS (
    SELECT file, count(*) AS rows
    FROM forgotten_rows
    GROUP BY file
)

SELECT
    $kind AS kind,
    files.file,
    files.content_hash,
    coalesce(counted.rows, 0) AS rows,
    coalesce(forgotten.rows, 0) AS forgotten
FROM surveyed_files AS files
LEFT JOIN counted ON files.file = counted.file
LEFT JOIN forgotten ON files.file = forgotten.file
