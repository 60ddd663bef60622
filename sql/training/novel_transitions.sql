-- training.novel_transitions: from history S to the next cluster, novel to the user, in which they had a positive
-- event.
-- Plays that an exploration impression led to are left out: the novelty model is never trained towards the reward.
SELECT day, taxonomy_version, user_id, history, cluster_id, ts
FROM interests.first_interactions
WHERE day IN (SELECT wanted_days.day FROM wanted_days)
    AND positive
    AND NOT explored
