-- evaluation.novel_impressions: the final impressions of the window from $first_day to $as_of, and those of clusters
-- that were novel to the user. $taxonomy_version.
SELECT
    sum(impressions)::BIGINT AS impressions,
    coalesce(sum(impressions) FILTER (WHERE novel), 0)::BIGINT AS novel_impressions
FROM feedback.transition_users
WHERE day >= $first_day
    AND day <= $as_of
    AND taxonomy_version = $taxonomy_version
