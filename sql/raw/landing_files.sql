-- Landing files that have been read, with the days that their rows belong to before they are clamped to the calendar:
-- a calendar may widen later. A first day of null means that some row has neither a readable ts nor an arrival day;
-- `earliest_day` passes over such rows.
-- Reads surveyed_files and surveyed_rows. $kind.
WITH dated AS (
    SELECT
        file,
        row_number,
        coalesce(CAST(landed_moment(ts) AS DATE), arrival_day) AS day
    FROM surveyed_rows
)

SELECT
    $kind AS kind,
    files.file,
    files.content_hash,
    CASE WHEN count(*) = count(dated.day) THEN min(dated.day) END AS first_day,
    min(dated.day) AS earliest_day,
    max(dated.day) AS last_day,
    count(dated.row_number) AS rows
FROM surveyed_files AS files
LEFT JOIN dated ON dated.file = files.file
GROUP BY files.file, files.content_hash
