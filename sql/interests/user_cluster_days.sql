-- interests.user_cluster_days: first and last interaction and positive event of each user with each cluster on one day.
SELECT
    events.day,
    item_clusters.taxonomy_version,
    events.user_id,
    item_clusters.cluster_id,
    min(events.ts) AS first_ts,
    max(events.ts) AS last_ts,
    min(CASE WHEN events.positive THEN events.ts END) AS first_positive_ts,
    max(CASE WHEN events.positive THEN events.ts END) AS last_positive_ts
FROM raw.events AS events
INNER JOIN interests.item_clusters AS item_clusters ON events.item_id = item_clusters.item_id
WHERE events.day IN (SELECT wanted_days.day FROM wanted_days)
GROUP BY events.day, item_clusters.taxonomy_version, events.user_id, item_clusters.cluster_id
