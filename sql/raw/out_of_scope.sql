-- Landing rows outside the calendar by kind and side: they are in no table, and no error.
-- $first_day, $end: the calendar.
SELECT
    kind,
    day < CAST($first_day AS DATE) AS early,
    sum(rows) AS rows,
    min(day) AS first_day,
    max(day) AS last_day
FROM raw.landing_days
WHERE day NOT BETWEEN CAST($first_day AS DATE) AND CAST($end AS DATE)
GROUP BY ALL
ORDER BY kind ASC, early DESC
