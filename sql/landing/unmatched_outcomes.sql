-- Outcomes of wanted_days that count for no impression, by day and reason. Impressions up to $window_days away are
-- compared, so that the result does not depend on the days that are read.
-- Reads checked_outcomes, typed_feedback (of the days around, too) and wanted_days.
-- $attribution_us, $tolerance_us: as in raw.feedback_logs.
WITH outcomes AS (
    SELECT day, file, row_number, request_id, item_id, ts
    FROM checked_outcomes
    WHERE reason IS NULL AND day IN (SELECT wanted_days.day FROM wanted_days)
),

compared AS (
    SELECT
        outcomes.file,
        outcomes.row_number,
        bool_or(
            epoch_us(outcomes.ts) - epoch_us(impression.ts) BETWEEN -$tolerance_us AND $attribution_us
        ) AS counts,
        bool_or(outcomes.ts < impression.ts) AS early
    FROM typed_feedback AS impression
    INNER JOIN outcomes ON impression.request_id = outcomes.request_id AND impression.item_id = outcomes.item_id
    WHERE abs(date_diff('day', CAST(impression.ts AS DATE), CAST(outcomes.ts AS DATE))) <= $window_days
    GROUP BY outcomes.file, outcomes.row_number
)

SELECT
    outcomes.day,
    CASE
        WHEN compared.file IS NULL THEN 'no impression has this request_id and item_id'
        WHEN compared.early THEN 'before its impression'
        ELSE 'after the attribution window of its impression'
    END AS reason,
    count(*) AS rows
FROM outcomes
LEFT JOIN compared ON outcomes.file = compared.file AND outcomes.row_number = compared.row_number
WHERE compared.counts IS NOT TRUE
GROUP BY ALL
ORDER BY ALL
