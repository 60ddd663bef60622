-- training.pointwise_examples, before the split: the cells scored by one signal, as of one day, under the standing
-- taxonomy.
SELECT history, cluster_id, impressions, users, positives
FROM feedback.transition_scores
WHERE day = $as_of
    AND signal = $signal
    AND taxonomy_version = $taxonomy_version
ORDER BY history, cluster_id
