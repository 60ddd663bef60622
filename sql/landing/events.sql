-- Rows of the events landing files that belong to a day of read_days: typed, with the reason where a row breaks the
-- data contract, and marked `duplicate` where a row repeats an earlier one.
-- Reads landing_events (a column is of its own type or text; blank is null), read_days and raw.items.
-- $first_day, $end: the calendar; rows of other days are out of scope. $partition: what `day` is the first day of.
WITH timed AS (
    SELECT *, landed_moment(ts) AS moment
    FROM landing_events
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
        TRY_CAST(landed.rating AS DOUBLE) AS rating_number,
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
                id_fault('user_id', user_id),
                item_fault(item_id, item_known),
                missing_fault('ts', ts),
                moment_fault('ts', ts, moment),
                amount_fault('watch_s', watch_s, watch_number),
                number_fault('rating', rating, rating_number),
                flag_fault('completed', completed, completed_flag),
                flag_fault('liked', liked, liked_flag),
                flag_fault('shared', shared, shared_flag),
                flag_fault('skipped', skipped, skipped_flag),
                flag_fault('positive', positive, positive_flag)
            )
        ) AS fault
    FROM parsed
),

-- From here on sound rows have no text: ranking sorts all rows, and took twice as long with the text.
typed AS (
    SELECT
        day,
        file,
        row_number,
        fault,
        user_id,
        item_id,
        moment AS ts,
        watch_number AS watch_s,
        rating_number AS rating,
        completed_flag AS completed,
        liked_flag AS liked,
        shared_flag AS shared,
        skipped_flag AS skipped,
        positive_flag AS positive,
        rejected_payload(
            row_number,
            fault,
            struct_pack(
                user_id := user_id, item_id := item_id, ts := ts, watch_s := watch_s, rating := rating,
                completed := completed, liked := liked, shared := shared, skipped := skipped, positive := positive
            )
        ) AS text
    FROM checked
),

ranked AS (
    SELECT
        *,
        row_number() OVER copies AS place,
        first_value(file) OVER copies AS first_file,
        first_value(row_number) OVER copies AS first_row,
        row(watch_s, rating, completed, liked, shared, skipped, positive) AS content,
        first_value(row(watch_s, rating, completed, liked, shared, skipped, positive)) OVER copies AS first_content
    FROM typed
    WINDOW copies AS (PARTITION BY fault IS NULL, user_id, item_id, ts ORDER BY file, row_number)
),

judged AS (
    SELECT
        *,
        coalesce(fault, CASE
            WHEN place > 1 AND content IS DISTINCT FROM first_content
                THEN 'user_id, item_id, ts: the same event has other values in ' || first_file || ', row ' || first_row
        END) AS reason
    FROM ranked
)

SELECT
    day,
    file,
    row_number,
    reason,
    reason IS NULL AND place > 1 AS duplicate,
    user_id,
    item_id,
    ts,
    watch_s,
    rating,
    completed,
    liked,
    shared,
    skipped,
    positive,
    CASE
        WHEN fault IS NOT NULL THEN text
        ELSE
            rejected_payload(
                row_number,
                reason,
                struct_pack(
                    user_id := user_id, item_id := item_id, ts := ts, watch_s := watch_s, rating := rating,
                    completed := completed, liked := liked, shared := shared, skipped := skipped, positive := positive
                )
            )
    END AS payload
FROM judged
