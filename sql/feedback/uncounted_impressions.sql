-- Impressions of each of wanted_days that feedback.transition_users does not count.
-- waiting: their attribution window is still open. left_out: S or the cluster is not known under the standing taxonomy,
-- or the cluster is one of S.
-- Reads moments (feedback.impressions) and feedback.transition_users.
SELECT
    wanted_days.day,
    coalesce(logged.waiting, 0) AS waiting,
    coalesce(logged.final - coalesce(counted.impressions, 0), 0) AS left_out
FROM wanted_days
LEFT JOIN (
    SELECT day, count(*) FILTER (WHERE NOT final) AS waiting, count(*) FILTER (WHERE final) AS final
    FROM moments
    GROUP BY day
) AS logged ON wanted_days.day = logged.day
LEFT JOIN (
    SELECT day, sum(impressions) AS impressions FROM feedback.transition_users
    GROUP BY day
) AS counted ON wanted_days.day = counted.day
