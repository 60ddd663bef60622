-- training.novelty_examples, before the choice: novel transitions of the standing taxonomy up to a day.
-- With replayed feedback the first $replay_share of the users (by the hash of their id) teach the alignment model, so
-- their events are kept from the novelty model; otherwise the share is 0.
SELECT day, taxonomy_version, user_id, history, cluster_id
FROM training.novel_transitions
WHERE day <= $until
    AND taxonomy_version = $taxonomy_version
    AND CAST(concat('0x', substr(md5(user_id), 1, 8)) AS BIGINT) / 4294967296.0 >= $replay_share
ORDER BY day, user_id, ts, cluster_id
