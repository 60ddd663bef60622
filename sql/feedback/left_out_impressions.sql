-- Impressions of each of wanted_days that feedback.transition_users could not count: S or the cluster is not known
-- under the current taxonomy, or the cluster was one of the user's own.
-- $source: as in feedback.transition_users; replayed feedback leaves nothing out.
SELECT wanted_days.day, coalesce(logged.impressions, 0) - coalesce(counted.impressions, 0) AS left_out
FROM wanted_days
LEFT JOIN (
    SELECT day, count(*) AS impressions
    FROM raw.feedback_logs
    WHERE $source = 'logged' OR ($source = 'random' AND policy = 'random')
    GROUP BY day
) AS logged ON wanted_days.day = logged.day
LEFT JOIN (
    SELECT day, sum(impressions) AS impressions FROM feedback.transition_users
    WHERE $source <> 'replay'
    GROUP BY day
) AS counted ON wanted_days.day = counted.day
