-- The requests of the impressions of $user, in landing files and in the warehouse; outcomes are found by these.
-- Reads found_feedback.
SELECT request_id
FROM found_feedback
WHERE request_id IS NOT NULL
UNION
SELECT request_id
FROM raw.feedback_logs
WHERE user_id = $user
