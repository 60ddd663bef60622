-- What the exploration impressions hold: how many there are, at random, with the history that they were served for, and
-- positive by the rule of the settings.
SELECT
    count(*) AS impressions,
    count(*) FILTER (WHERE policy = 'random') AS random_impressions,
    count(history) AS placed_impressions,
    count(*) FILTER (WHERE positive) AS positive_impressions
FROM raw.feedback_logs
