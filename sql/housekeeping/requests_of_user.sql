-- Requests by which the outcomes of $user are found: those of the user's impressions in landing files and in the
-- warehouse.
-- Reads found_feedback.
SELECT request_id
FROM found_feedback
WHERE request_id IS NOT NULL
UNION
SELECT request_id
FROM raw.feedback_logs
WHERE user_id = $user
