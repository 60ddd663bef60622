-- Rows of the outcomes landing files that belong to a day of read_days: typed, with the reason where a row breaks the
-- data contract. No row is marked `duplicate`, because outcomes of one impression are combined.
-- Reads landing_outcomes (a column is of its own type or text; blank is null), read_days and raw.items.
-- $first_day, $end: the calendar; rows of other days are out of scope. $partition: what `day` is the first day of.
WITH timed AS (
    SELECT *, landed_moment(ts) AS moment
    FROM landing_outcomes
),

dated AS (
    SELECT *, partition_of(landed_day(moment, arrival_day, $first_day, $end), $partition) AS day
    FROM timed
),

parsed AS (
    SELECT
        landed.*,
        known.item_id IS NOT NULL AS item_known,
        TRY_CAST(landed.watch_s AS DOUBLE) AS watch_number,
        landed_flag(landed.completed) AS completed_flag,
        landed_flag(landed.liked) AS liked_flag,
        landed_flag(landed.shared) AS shared_flag,
        landed_flag(landed.skipped) AS skipped_flag,
        landed_flag(landed.positive) AS positive_flag
    FROM dated AS landed
    LEFT JOIN raw.items AS known ON landed.item_id = known.item_id
    WHERE landed.day IN (SELECT read_days.day FROM read_days)
),

checked AS (
    SELECT
        *,
        row_fault(
            row_number,
            concat_ws(
                '; ',
                id_fault('request_id', request_id),
                item_fault(item_id, item_known),
                missing_fault('ts', ts),
                moment_fault('ts', ts, moment),
                amount_fault('watch_s', watch_s, watch_number),
                flag_fault('completed', completed, completed_flag),
                flag_fault('liked', liked, liked_flag),
                flag_fault('shared', shared, shared_flag),
                flag_fault('skipped', skipped, skipped_flag),
                flag_fault('positive', positive, positive_flag)
            )
        ) AS reason
    FROM parsed
)

SELECT
    day,
    file,
    row_number,
    reason,
    FALSE AS duplicate,
    request_id,
    item_id,
    moment AS ts,
    watch_number AS watch_s,
    completed_flag AS completed,
    liked_flag AS liked,
    shared_flag AS shared,
    skipped_flag AS skipped,
    positive_flag AS positive,
    rejected_payload(
        row_number,
        reason,
        struct_pack(
            request_id := request_id, item_id := item_id, ts := ts, watch_s := watch_s,
            completed := completed, liked := liked, shared := shared, skipped := skipped, positive := positive
        )
    ) AS payload
FROM checked
