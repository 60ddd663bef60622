-- The first day of $user with an event, and with an impression, in landing files and warehouse; else null.
-- Reads found_events and found_feedback.
SELECT
    least(
        (SELECT min(CAST(landed_moment(found.ts) AS DATE)) FROM found_events AS found),
        (
            SELECT min(days.day) FROM interests.user_cluster_days AS days
            WHERE days.user_id = $user
        )
    ) AS first_event,
    least(
        (SELECT min(CAST(landed_moment(found.ts) AS DATE)) FROM found_feedback AS found),
        (
            SELECT min(users.day) FROM feedback.transition_users AS users
            WHERE users.user_id = $user
        )
    ) AS first_impression
