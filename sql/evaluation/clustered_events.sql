-- evaluation.clustered_events: events of wanted_days, and how many of them are of items that have a cluster.
SELECT events.day, count(*) AS events, count(item_clusters.item_id) AS clustered
FROM raw.events AS events
LEFT JOIN interests.item_clusters AS item_clusters ON events.item_id = item_clusters.item_id
WHERE events.day IN (SELECT wanted_days.day FROM wanted_days)
GROUP BY events.day
ORDER BY events.day
