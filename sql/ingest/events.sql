-- What the events hold: how many there are, how many are positive by the rule of the settings, how many tell anything
-- by which a rule could judge them (a rating apart), and how many users they are of.
SELECT
    count(*) AS events,
    count(*) FILTER (WHERE positive) AS positives,
    count(*) FILTER (
        WHERE watch_s IS NOT NULL OR coalesce(completed, liked, shared, skipped) IS NOT NULL
    ) AS judged_events,
    count(DISTINCT user_id) AS users
FROM raw.events
