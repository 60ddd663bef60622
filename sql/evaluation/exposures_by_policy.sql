-- evaluation.exposures_by_policy: of each policy the exposures of wanted_days, those whose cluster was novel to the
-- user, and the positive ones among both kinds.
-- Reads exposures.
SELECT
    policy,
    count(*) AS impressions,
    count(*) FILTER (WHERE novel) AS novel_impressions,
    count(*) FILTER (WHERE positive AND novel) AS novel_positives,
    count(*) FILTER (WHERE positive AND NOT novel) AS known_positives
FROM exposures
GROUP BY policy
ORDER BY policy
