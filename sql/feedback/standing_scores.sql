-- The scores as of a day: of each cell and signal the latest row up to $as_of, unless it says that the cell is gone.
-- $taxonomy_version.
WITH ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY history, cluster_id, signal ORDER BY day DESC) AS place
    FROM feedback.transition_scores
    WHERE day <= $as_of AND taxonomy_version = $taxonomy_version
)

SELECT
    history,
    cluster_id,
    impressions,
    novel_impressions,
    users,
    positives,
    raw_rate,
    prior_rate,
    shrunk_rate,
    lower,
    upper,
    score,
    signal,
    taxonomy_version
FROM ranked
WHERE place = 1 AND standing
ORDER BY signal, history, cluster_id
