-- The report of each of wanted_days for events: rows kept, rows rejected, and rows that repeat another row.
-- Reads wanted_days, raw.events and checked_events.
WITH kept AS (
    SELECT day, count(*) AS rows
    FROM raw.events
    WHERE day IN (SELECT wanted_days.day FROM wanted_days)
    GROUP BY day
),

left_out AS (
    SELECT day, count(reason) AS rejected, count_if(duplicate) AS duplicates
    FROM checked_events
    WHERE day IN (SELECT wanted_days.day FROM wanted_days)
    GROUP BY day
)

SELECT
    wanted_days.day,
    coalesce(kept.rows, 0) AS rows,
    coalesce(left_out.rejected, 0) AS rejected,
    coalesce(left_out.duplicates, 0) AS duplicates
FROM wanted_days
LEFT JOIN kept ON wanted_days.day = kept.day
LEFT JOIN left_out ON wanted_days.day = left_out.day
ORDER BY wanted_days.day
