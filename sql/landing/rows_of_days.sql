-- Landing rows of a kind by the day that they belong to. $kind; $first_day, $end: the calendar.
SELECT landed_day(day, arrival_day, $first_day, $end) AS day, sum(rows) AS rows
FROM raw.landing_days
WHERE kind = $kind
GROUP BY ALL
