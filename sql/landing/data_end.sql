-- The moment up to which the data are complete: the midnight at the start of the last day on which any event,
-- impression or outcome landed, because more rows of that day may come. Where it is the last day of a closed calendar:
-- the midnight after it.
-- $first_day, $end, $closed: the calendar.
SELECT CASE WHEN $closed AND last_landed = CAST($end AS DATE) THEN last_landed + 1 ELSE last_landed END AS data_end
FROM (
    SELECT max(landed_day(day, arrival_day, $first_day, $end)) AS last_landed
    FROM raw.landing_days
    WHERE kind <> 'items'
) AS landed
