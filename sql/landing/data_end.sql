-- The first moment after the data at hand: midnight after the last day of any landed event, impression or outcome.
-- $first_day, $last_day: the calendar.
SELECT max(least(greatest(coalesce(last_day, $first_day), $first_day), CAST($last_day AS DATE))) + 1 AS data_end
FROM raw.landing_files
WHERE kind <> 'items'
