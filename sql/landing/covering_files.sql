-- Landing files that hold rows of each wanted day or of the days around it; days of files are clamped to the calendar.
-- $kind; $days: the wanted days; $days_before, $days_after: how many days around; $first_day, $last_day: the calendar.
SELECT
    wanted.day,
    found.file,
    found.content_hash
FROM (SELECT unnest(CAST($days AS DATE[])) AS day) AS wanted
INNER JOIN raw.landing_files AS found
    ON wanted.day + CAST($days_after AS INTEGER)
    >= least(greatest(coalesce(found.first_day, $first_day), $first_day), CAST($last_day AS DATE))
    AND wanted.day - CAST($days_before AS INTEGER)
    <= least(greatest(coalesce(found.last_day, $first_day), $first_day), CAST($last_day AS DATE))
WHERE found.kind = $kind
ORDER BY wanted.day, found.file
