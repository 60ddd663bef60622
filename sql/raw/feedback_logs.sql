-- Exploration impressions of wanted_days with what happened within the attribution window: the longest watch time, and
-- every flag that the impression or any outcome raised. An impression without an outcome is not positive.
-- Reads typed_feedback (which is computed again for each use), doubtful_feedback, checked_outcomes, wanted_days and
-- raw.items.
-- $attribution_us: length of the window in microseconds; $tolerance_us: how early an outcome may come, because clocks
-- differ; $data_end: first moment after the data.
-- $watch_share, $liked, $completed, $when_unknown: when an impression with outcomes but without `positive` is positive.
WITH left_out AS (
    SELECT file, row_number
    FROM doubtful_feedback
    WHERE reason IS NOT NULL OR duplicate
),

impressions AS NOT MATERIALIZED (
    SELECT typed.*
    FROM typed_feedback AS typed
    ANTI JOIN left_out ON typed.file = left_out.file AND typed.row_number = left_out.row_number
    -- The one row of an empty file is rejected. It has no row number, so the join cannot leave it out.
    WHERE typed.row_number IS NOT NULL AND typed.day IN (SELECT wanted_days.day FROM wanted_days)
),

combined AS (
    SELECT
        impression.file,
        impression.row_number,
        max(outcome.watch_s) AS watch_s,
        bool_or(outcome.completed) AS completed,
        bool_or(outcome.liked) AS liked,
        bool_or(outcome.shared) AS shared,
        bool_or(outcome.skipped) AS skipped,
        bool_or(outcome.positive) AS positive
    FROM impressions AS impression
    INNER JOIN checked_outcomes AS outcome
        ON impression.request_id = outcome.request_id AND impression.item_id = outcome.item_id
    WHERE outcome.reason IS NULL
        AND epoch_us(outcome.ts) - epoch_us(impression.ts) BETWEEN -$tolerance_us AND $attribution_us
    GROUP BY impression.file, impression.row_number
),

-- What the impression itself says is one more outcome. `answered` is false where there is no outcome at all.
answers AS (
    SELECT
        impression.* REPLACE (
            greatest(impression.watch_s, combined.watch_s) AS watch_s,
            coalesce(impression.completed OR combined.completed, impression.completed, combined.completed) AS completed,
            coalesce(impression.liked OR combined.liked, impression.liked, combined.liked) AS liked,
            coalesce(impression.shared OR combined.shared, impression.shared, combined.shared) AS shared,
            coalesce(impression.skipped OR combined.skipped, impression.skipped, combined.skipped) AS skipped,
            coalesce(impression.positive OR combined.positive, impression.positive, combined.positive) AS positive
        ),
        combined.file IS NOT NULL AS answered
    FROM impressions AS impression
    LEFT JOIN combined ON impression.file = combined.file AND impression.row_number = combined.row_number
)

SELECT
    answer.day,
    answer.request_id,
    answer.item_id,
    answer.user_id,
    answer.ts,
    answer.history,
    answer.cluster_id,
    answer.policy,
    answer.table_version,
    answer.taxonomy_version,
    answer.position,
    answer.propensity,
    answer.watch_s,
    answer.completed,
    answer.liked,
    answer.shared,
    answer.skipped,
    CASE
        WHEN answer.positive IS NOT NULL THEN answer.positive
        WHEN ($liked AND answer.liked)
            OR ($completed AND answer.completed)
            -- A duration of 0 is an unknown one: any watch would be long enough.
            OR answer.watch_s >= CAST($watch_share AS DOUBLE) * nullif(item.duration_s, 0)
            THEN TRUE
        WHEN answer.answered AND answer.watch_s IS NULL
            AND coalesce(answer.completed, answer.liked, answer.shared, answer.skipped) IS NULL
            THEN CAST($when_unknown AS BOOLEAN)
        ELSE FALSE
    END AS positive,
    epoch_us(answer.ts) + $attribution_us <= epoch_us(CAST($data_end AS TIMESTAMP)) AS final
FROM answers AS answer
LEFT JOIN raw.items AS item ON answer.item_id = item.item_id
