-- The moment up to which the data at hand are whole: the midnight that begins the last day of any landed event,
-- impression or outcome, for more rows of that day may yet come; where it is the last day of a closed calendar, the
-- midnight after it.
-- $first_day, $last_day: the calendar.
SELECT CASE WHEN last_landed = CAST($last_day AS DATE) THEN last_landed + 1 ELSE last_landed END AS data_end
FROM (
    SELECT max(least(greatest(coalesce(last_day, $first_day), $first_day), CAST($last_day AS DATE))) AS last_landed
    FROM raw.landing_files
    WHERE kind <> 'items'
) AS landed
