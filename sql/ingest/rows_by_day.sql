-- How many landing rows of events, feedback and outcomes each day has, inside the calendar or not.
SELECT day, sum(rows) AS rows
FROM raw.landing_days
WHERE kind <> 'items' AND day IS NOT NULL
GROUP BY day
ORDER BY day
