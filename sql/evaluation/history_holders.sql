-- evaluation.history_holders: who was shown something while holding a history, and how often, from $first_day to
-- $as_of.
SELECT history, user_id, sum(impressions) AS impressions
FROM feedback.transition_users
WHERE day >= $first_day
    AND day <= $as_of
    AND taxonomy_version = $taxonomy_version
GROUP BY history, user_id
ORDER BY history, user_id
