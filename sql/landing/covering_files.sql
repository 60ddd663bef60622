-- Landing files that hold rows of each wanted day or of the days around it.
-- $kind; $days: the wanted days; $days_before, $days_after: how many days around; $first_day, $end: the calendar.
WITH held AS (
    SELECT DISTINCT
        days.file,
        files.content_hash,
        landed_day(days.day, days.arrival_day, $first_day, $end) AS day
    FROM raw.landing_days AS days
    INNER JOIN raw.landing_files AS files ON days.kind = files.kind AND days.file = files.file
    WHERE days.kind = $kind
)

SELECT DISTINCT wanted.day, held.file, held.content_hash
FROM (SELECT unnest(CAST($days AS DATE[])) AS day) AS wanted
INNER JOIN held
    ON wanted.day - CAST($days_before AS INTEGER) <= held.day AND wanted.day + CAST($days_after AS INTEGER) >= held.day
ORDER BY wanted.day, held.file
