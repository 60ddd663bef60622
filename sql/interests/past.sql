-- What users did with clusters up to the last of wanted_days: first interaction and last positive event, of all days
-- before in one row (interests.user_clusters, which holds the days up to $snapshot_day), of later ones a row a day.
-- $snapshot_day: null where that table is not to be read; $taxonomy_version.
SELECT user_id, cluster_id, first_ts, last_positive_ts
FROM interests.user_clusters
WHERE CAST($snapshot_day AS DATE) IS NOT NULL
UNION ALL
SELECT user_id, cluster_id, first_ts, last_positive_ts
FROM interests.user_cluster_days
WHERE taxonomy_version = $taxonomy_version
    AND day > coalesce(CAST($snapshot_day AS DATE), DATE '0001-01-01')
    AND day <= (SELECT max(wanted_days.day) FROM wanted_days)
