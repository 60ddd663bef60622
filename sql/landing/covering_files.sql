-- Landing files that hold rows of each wanted partition or of the days around it.
-- $kind; $days: the wanted partitions; $firsts, $lasts: the first and last day that counts for each; $first_day, $end:
-- the calendar.
WITH held AS (
    SELECT DISTINCT
        days.file,
        files.content_hash,
        landed_day(days.day, days.arrival_day, $first_day, $end) AS day
    FROM raw.landing_days AS days
    INNER JOIN raw.landing_files AS files ON days.kind = files.kind AND days.file = files.file
    WHERE days.kind = $kind
),

wanted AS (
    SELECT
        unnest(CAST($days AS DATE[])) AS day,
        unnest(CAST($firsts AS DATE[])) AS first_day,
        unnest(CAST($lasts AS DATE[])) AS last_day
)

SELECT DISTINCT wanted.day, held.file, held.content_hash
FROM wanted
INNER JOIN held ON wanted.first_day <= held.day AND wanted.last_day >= held.day
ORDER BY wanted.day, held.file
