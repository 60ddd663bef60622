-- The report of each of wanted_days for feedback and outcomes: impressions kept, rows of both kinds rejected, rows that
-- repeat another row, and sound outcomes.
-- Reads wanted_days, raw.feedback_logs, doubtful_feedback and checked_outcomes.
WITH kept AS (
    SELECT day, count(*) AS rows
    FROM raw.feedback_logs
    WHERE day IN (SELECT wanted_days.day FROM wanted_days)
    GROUP BY day
),

judged AS (
    SELECT day, reason, duplicate
    FROM doubtful_feedback
    UNION ALL
    SELECT day, reason, duplicate
    FROM checked_outcomes
),

left_out AS (
    SELECT day, count(reason) AS rejected, count_if(duplicate) AS duplicates
    FROM judged
    WHERE day IN (SELECT wanted_days.day FROM wanted_days)
    GROUP BY day
),

outcomes AS (
    SELECT day, count(*) AS rows
    FROM checked_outcomes
    WHERE reason IS NULL
    GROUP BY day
)

SELECT
    wanted_days.day,
    coalesce(kept.rows, 0) AS rows,
    coalesce(left_out.rejected, 0) AS rejected,
    coalesce(left_out.duplicates, 0) AS duplicates,
    coalesce(outcomes.rows, 0) AS outcomes
FROM wanted_days
LEFT JOIN kept ON wanted_days.day = kept.day
LEFT JOIN left_out ON wanted_days.day = left_out.day
LEFT JOIN outcomes ON wanted_days.day = outcomes.day
ORDER BY wanted_days.day
