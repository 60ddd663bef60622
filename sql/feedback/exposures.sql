-- What feedback is counted from: impressions whose window has closed, of users with a history S, from clusters outside
-- S; or the first interactions of $replay_share of the users, replayed as if they were impressions.
-- novel: the user had no interaction of any sign with the cluster before the impression.
-- Reads past, moments (feedback.impressions) and histories.
-- $source.
SELECT
    impressions.day,
    coalesce(impressions.history, histories.history) AS history,
    impressions.cluster_id,
    impressions.user_id,
    impressions.policy,
    coalesce(known.ts >= impressions.ts, TRUE) AS novel,
    impressions.liked,
    impressions.shared,
    impressions.completed,
    impressions.skipped,
    impressions.positive
FROM moments AS impressions
LEFT JOIN histories ON impressions.user_id = histories.user_id AND impressions.ts = histories.ts
LEFT JOIN (
    SELECT user_id, cluster_id, min(first_ts) AS ts
    FROM past
    GROUP BY user_id, cluster_id
) AS known
    ON impressions.user_id = known.user_id AND impressions.cluster_id = known.cluster_id
WHERE impressions.final
    AND impressions.cluster_id IS NOT NULL
    AND coalesce(impressions.history, histories.history) IS NOT NULL
    AND NOT list_contains(coalesce(impressions.history, histories.history), impressions.cluster_id)
UNION ALL
SELECT
    day,
    history,
    cluster_id,
    user_id,
    'replay' AS policy,
    TRUE AS novel,
    liked,
    shared,
    completed,
    skipped,
    positive
FROM interests.first_interactions
WHERE $source = 'replay'
    AND day IN (SELECT wanted_days.day FROM wanted_days)
    AND CAST(concat('0x', substr(md5(user_id), 1, 8)) AS BIGINT) / 4294967296.0 < $replay_share
