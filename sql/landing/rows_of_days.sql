-- Landing rows of a kind by the partition that they belong to. $kind; $first_day, $end, $partition: the calendar.
SELECT partition_of(landed_day(day, arrival_day, $first_day, $end), $partition) AS day, sum(rows) AS rows
FROM raw.landing_days
WHERE kind = $kind
GROUP BY ALL
