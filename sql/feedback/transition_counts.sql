-- feedback.transition_counts: impressions and outcomes of one day by history S, served cluster, and whether the cluster
-- was novel to the user.
SELECT
    day,
    taxonomy_version,
    history,
    cluster_id,
    novel,
    sum(impressions) AS impressions,
    count(user_id) AS users,
    sum(positives) AS positives,
    sum(likes) AS likes,
    sum(shares) AS shares,
    sum(completions) AS completions,
    sum(skips) AS skips
FROM feedback.transition_users
WHERE day IN (SELECT wanted_days.day FROM wanted_days)
GROUP BY day, taxonomy_version, history, cluster_id, novel
