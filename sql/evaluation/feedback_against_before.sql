-- evaluation.feedback_against_before: impressions and positives of each cluster in each of some partitions, and in
-- those before it.
-- $days: the partitions; $firsts: for each the first one before it that counts; $taxonomy_version; $exposures:
-- as in feedback.transition_scores.
WITH compared AS (
    SELECT unnest(CAST($days AS DATE[])) AS day, unnest(CAST($firsts AS DATE[])) AS first_day
)

SELECT
    compared.day,
    counts.cluster_id,
    coalesce(sum(counts.positives) FILTER (WHERE counts.day < compared.day), 0)::DOUBLE AS positives_before,
    coalesce(sum(counts.impressions) FILTER (WHERE counts.day < compared.day), 0)::DOUBLE AS before,
    coalesce(sum(counts.positives) FILTER (WHERE counts.day = compared.day), 0)::DOUBLE AS positives_after,
    coalesce(sum(counts.impressions) FILTER (WHERE counts.day = compared.day), 0)::DOUBLE AS after
FROM compared
INNER JOIN feedback.transition_counts AS counts
    ON compared.first_day <= counts.day AND compared.day >= counts.day
WHERE counts.taxonomy_version = $taxonomy_version AND (counts.novel OR $exposures = 'all')
GROUP BY compared.day, counts.cluster_id
ORDER BY compared.day, counts.cluster_id
