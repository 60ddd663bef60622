-- Landing files that have been read, with the days of their rows. These days are not clamped to the calendar, which may
-- be widened later. A first day of null means that some row has neither a readable ts nor an arrival day;
-- `earliest_day` ignores such rows. `forgotten` counts rows of forgotten users, which no other column counts.
-- Reads surveyed_files, surveyed_rows and forgotten_rows. $kind.
WITH dated AS (
    SELECT file, row_number, coalesce(CAST(landed_moment(ts) AS DATE), arrival_day) AS day
    FROM surveyed_rows
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
    CASE WHEN count(*) = count(dated.day) THEN min(dated.day) END AS first_day,
    min(dated.day) AS earliest_day,
    max(dated.day) AS last_day,
    count(dated.row_number) AS rows,
    coalesce(any_value(forgotten.rows), 0) AS forgotten
FROM surveyed_files AS files
LEFT JOIN dated ON files.file = dated.file
LEFT JOIN forgotten ON files.file = forgotten.file
GROUP BY files.file, files.content_hash
