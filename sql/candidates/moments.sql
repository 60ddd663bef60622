-- Of every user the end of all days, later than any event.
-- Reads positives.
SELECT DISTINCT user_id, TIMESTAMP '9999-12-31' AS ts, CAST(NULL AS INTEGER[]) AS history
FROM positives
