-- interests.user_clusters, of users and clusters that change: first interaction and last positive event up to a day.
-- $after, $until: the days of interests.user_cluster_days that are added; $taxonomy_version.
WITH added AS (
    SELECT user_id, cluster_id, min(first_ts) AS first_ts, max(last_positive_ts) AS last_positive_ts
    FROM interests.user_cluster_days
    WHERE day > $after
        AND day <= $until
        AND taxonomy_version = $taxonomy_version
    GROUP BY user_id, cluster_id
)

SELECT
    $taxonomy_version AS taxonomy_version,
    added.user_id,
    added.cluster_id,
    coalesce(least(added.first_ts, standing.first_ts), added.first_ts) AS first_ts,
    greatest(added.last_positive_ts, standing.last_positive_ts) AS last_positive_ts
FROM added
LEFT JOIN interests.user_clusters AS standing
    ON added.user_id = standing.user_id AND added.cluster_id = standing.cluster_id
