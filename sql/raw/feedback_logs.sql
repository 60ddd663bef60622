-- Exploration impressions of wanted_days joined with what happened within the attribution window: the longest watch, and
-- every flag that any outcome raised, those known on the impression included. Silence is not positive.
-- Reads checked_feedback, checked_outcomes, wanted_days and raw.items.
-- $attribution_us: length of the window in microseconds; $data_end: first moment after the data at hand.
-- $watch_share, $liked, $completed, $when_unknown: when an impression with outcomes but without `positive` is positive.
WITH impressions AS (
    SELECT *
    FROM checked_feedback
    WHERE reason IS NULL AND NOT duplicate AND day IN (SELECT day FROM wanted_days)
),

-- What is known on the impression itself is one more outcome; `answered` tells an outcome without any signal from silence.
outcomes AS (
    SELECT
        file, row_number, watch_s, completed, liked, shared, skipped, positive,
        watch_s IS NOT NULL OR coalesce(completed, liked, shared, skipped) IS NOT NULL AS answered
    FROM impressions
    UNION ALL
    SELECT
        impression.file, impression.row_number, outcome.watch_s, outcome.completed, outcome.liked, outcome.shared,
        outcome.skipped, outcome.positive, true AS answered
    FROM impressions AS impression
    INNER JOIN checked_outcomes AS outcome
        ON outcome.request_id = impression.request_id AND outcome.item_id = impression.item_id
    WHERE outcome.reason IS NULL
        AND epoch_us(outcome.ts) - epoch_us(impression.ts) BETWEEN 0 AND $attribution_us
),

combined AS (
    SELECT
        file,
        row_number,
        max(watch_s) AS watch_s,
        bool_or(completed) AS completed,
        bool_or(liked) AS liked,
        bool_or(shared) AS shared,
        bool_or(skipped) AS skipped,
        bool_or(positive) AS positive,
        bool_or(answered) AS answered
    FROM outcomes
    GROUP BY file, row_number
)

SELECT
    impression.day,
    impression.request_id,
    impression.item_id,
    impression.user_id,
    impression.ts,
    impression.history,
    impression.cluster_id,
    impression.policy,
    impression.table_version,
    impression.taxonomy_version,
    impression.position,
    impression.propensity,
    combined.watch_s,
    combined.completed,
    combined.liked,
    combined.shared,
    combined.skipped,
    CASE
        WHEN combined.positive IS NOT NULL THEN combined.positive
        WHEN ($liked AND combined.liked)
            OR ($completed AND combined.completed)
            -- A duration of 0 is an unknown one: any watch would be long enough.
            OR combined.watch_s >= CAST($watch_share AS DOUBLE) * nullif(item.duration_s, 0)
            THEN true
        WHEN combined.answered AND combined.watch_s IS NULL
            AND coalesce(combined.completed, combined.liked, combined.shared, combined.skipped) IS NULL
            THEN CAST($when_unknown AS BOOLEAN)
        ELSE false
    END AS positive,
    epoch_us(impression.ts) + $attribution_us <= epoch_us(CAST($data_end AS TIMESTAMP)) AS final
FROM impressions AS impression
INNER JOIN combined ON combined.file = impression.file AND combined.row_number = impression.row_number
LEFT JOIN raw.items AS item ON item.item_id = impression.item_id
ORDER BY impression.day
