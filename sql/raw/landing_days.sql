-- How many rows of each landing file belong to each day. The days are not held against the calendar, which may change
-- later. A day of null means that a row has no readable ts; the row of an empty file is counted as 0.
-- Reads surveyed_rows. $kind.
SELECT
    $kind AS kind,
    file,
    CAST(landed_moment(ts) AS DATE) AS day,
    arrival_day,
    count(row_number) AS rows
FROM surveyed_rows
GROUP BY ALL
