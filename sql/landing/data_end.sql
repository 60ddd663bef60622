-- The moment up to which the data are complete: the midnight at the start of the last day on which any event,
-- impression or outcome landed, because more rows of that day may come. Where it is the last day of a closed calendar:
-- the midnight after it.
-- $first_day, $last_day: the calendar.
SELECT CASE WHEN last_landed = CAST($last_day AS DATE) THEN last_landed + 1 ELSE last_landed END AS data_end
FROM (
    SELECT max(least(greatest(coalesce(last_day, $first_day), $first_day), CAST($last_day AS DATE))) AS last_landed
    FROM raw.landing_files
    WHERE kind <> 'items'
) AS landed
