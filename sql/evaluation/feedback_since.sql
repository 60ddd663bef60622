-- evaluation.feedback_since: impressions and positives of each cluster in the window from $first_day to $as_of, and
-- after it up to $until. $exposures: as in feedback.transition_scores.
SELECT
    cluster_id,
    coalesce(sum(positives) FILTER (WHERE day <= $as_of), 0)::DOUBLE AS positives_before,
    coalesce(sum(impressions) FILTER (WHERE day <= $as_of), 0)::DOUBLE AS before,
    coalesce(sum(positives) FILTER (WHERE day > $as_of), 0)::DOUBLE AS positives_after,
    coalesce(sum(impressions) FILTER (WHERE day > $as_of), 0)::DOUBLE AS after
FROM feedback.transition_users
WHERE day >= CAST($first_day AS DATE)
    AND day <= CAST($until AS DATE)
    AND taxonomy_version = $taxonomy_version
    AND (novel OR $exposures = 'all')
GROUP BY cluster_id
ORDER BY cluster_id
