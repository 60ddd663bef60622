-- How many exploration impressions were shown to users who had met so many distinct items strictly before.
SELECT
    items_before,
    count(*) AS impressions
FROM (
    SELECT
        is_event,
        sum(is_event) OVER (
            PARTITION BY user_id ORDER BY ts ASC, is_event ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS items_before
    FROM (
        SELECT user_id, min(ts) AS ts, 1 AS is_event FROM raw.events
        GROUP BY user_id, item_id
        UNION ALL
        SELECT user_id, ts, 0 AS is_event FROM raw.feedback_logs
    ) AS moments
) AS counted
WHERE is_event = 0
GROUP BY items_before
ORDER BY items_before
