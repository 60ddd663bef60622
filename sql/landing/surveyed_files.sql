-- Landing files of a kind that have been surveyed, with the first and last day of the calendar that their rows belong
-- to. A file with rows, but none in raw.landing_days, was surveyed by an older alignrec, and is left out.
-- $kind; $first_day, $end: the calendar.
SELECT
    files.file,
    any_value(files.content_hash) AS content_hash,
    min(landed_day(days.day, days.arrival_day, $first_day, $end)) AS first_day,
    max(landed_day(days.day, days.arrival_day, $first_day, $end)) AS last_day
FROM raw.landing_files AS files
LEFT JOIN raw.landing_days AS days ON files.kind = days.kind AND files.file = days.file
WHERE files.kind = $kind
GROUP BY files.file
HAVING count(days.file) > 0 OR any_value(files.rows) = 0
ORDER BY files.file
