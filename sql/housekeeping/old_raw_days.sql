-- For each raw log: all its rows, the rows of the days before $first_kept, and the range and the number of these days.
WITH logs AS (
    SELECT 'raw.events' AS log, day
    FROM raw.events
    UNION ALL
    SELECT 'raw.feedback_logs' AS log, day
    FROM raw.feedback_logs
)

SELECT
    log,
    count(*) AS all_rows,
    count_if(day < $first_kept) AS rows,
    min(day) AS first_day,
    max(day) FILTER (WHERE day < $first_kept) AS last_day,
    count(DISTINCT day) FILTER (WHERE day < $first_kept) AS days
FROM logs
GROUP BY log
ORDER BY log
