-- training.pointwise_examples, before the split: the cells scored by one signal, as of one day, under the standing
-- taxonomy.
WITH ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY history, cluster_id ORDER BY day DESC) AS place
    FROM feedback.transition_scores
    WHERE day <= $as_of
        AND signal = $signal
        AND taxonomy_version = $taxonomy_version
)

SELECT history, cluster_id, impressions, users, positives
FROM ranked
WHERE place = 1 AND standing
ORDER BY history, cluster_id
