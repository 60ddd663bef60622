-- Rows of the events landing files that belong to a day of read_days: typed, with the reason where a row breaks the
-- contract, and `duplicate` where it says again what an earlier row said.
-- Reads landing_events, where a column is of its own type or text, and blank is null, read_days and raw.items.
-- $first_day, $last_day: the calendar; the last day is null while the log is open.
WITH timed AS (
    SELECT
        *,
        CASE
            WHEN TRY_CAST(ts AS TIMESTAMPTZ) BETWEEN TIMESTAMPTZ '0001-01-01' AND TIMESTAMPTZ '9999-12-31'
                THEN make_timestamp(epoch_us(TRY_CAST(ts AS TIMESTAMPTZ)))
        END AS moment
    FROM landing_events
),

dated AS (
    SELECT
        *,
        least(
            greatest(coalesce(CAST(moment AS DATE), arrival_day, CAST($first_day AS DATE)), CAST($first_day AS DATE)),
            CAST($last_day AS DATE)
        ) AS day
    FROM timed
),

parsed AS (
    SELECT
        landed.*,
        known.item_id IS NOT NULL AS item_known,
        TRY_CAST(watch_s AS DOUBLE) AS watch_number,
        TRY_CAST(rating AS DOUBLE) AS rating_number,
        -- Tools that know no missing booleans write 1.0 and 0.0.
        coalesce(TRY_CAST(completed AS BOOLEAN), TRY_CAST(replace(CAST(completed AS VARCHAR), '.0', '') AS BOOLEAN)) AS completed_flag,
        coalesce(TRY_CAST(liked AS BOOLEAN), TRY_CAST(replace(CAST(liked AS VARCHAR), '.0', '') AS BOOLEAN)) AS liked_flag,
        coalesce(TRY_CAST(shared AS BOOLEAN), TRY_CAST(replace(CAST(shared AS VARCHAR), '.0', '') AS BOOLEAN)) AS shared_flag,
        coalesce(TRY_CAST(skipped AS BOOLEAN), TRY_CAST(replace(CAST(skipped AS VARCHAR), '.0', '') AS BOOLEAN)) AS skipped_flag,
        coalesce(TRY_CAST(positive AS BOOLEAN), TRY_CAST(replace(CAST(positive AS VARCHAR), '.0', '') AS BOOLEAN)) AS positive_flag
    FROM dated AS landed
    LEFT JOIN raw.items AS known ON known.item_id = landed.item_id
    WHERE landed.day IN (SELECT day FROM read_days)
),

checked AS (
    SELECT
        *,
        CASE WHEN row_number IS NULL THEN 'empty file: it holds no bytes' ELSE nullif(concat_ws(
            '; ',
            CASE WHEN user_id IS NULL THEN 'user_id: missing' END,
            CASE
                WHEN item_id IS NULL THEN 'item_id: missing'
                WHEN NOT item_known THEN 'item_id: ''' || left(item_id, 60) || ''' is not among the items'
            END,
            CASE
                WHEN ts IS NULL THEN 'ts: missing'
                WHEN moment IS NULL THEN 'ts: ''' || left(CAST(ts AS VARCHAR), 60) || ''' is not an ISO 8601 time'
                WHEN CAST(moment AS DATE) <> day
                    THEN 'ts: ''' || left(CAST(ts AS VARCHAR), 60) || ''' lies outside the calendar (first_day '
                        || CAST($first_day AS VARCHAR) || ', last_day ' || coalesce(CAST($last_day AS VARCHAR), 'open') || ')'
            END,
            CASE
                WHEN watch_s IS NULL THEN NULL
                WHEN watch_number IS NULL OR NOT isfinite(watch_number)
                    THEN 'watch_s: ''' || left(CAST(watch_s AS VARCHAR), 60) || ''' is not a number'
                WHEN watch_number < 0 THEN 'watch_s: ' || watch_s || ' is negative'
            END,
            CASE
                WHEN rating IS NULL THEN NULL
                WHEN rating_number IS NULL OR NOT isfinite(rating_number)
                    THEN 'rating: ''' || left(CAST(rating AS VARCHAR), 60) || ''' is not a number'
            END,
            CASE
                WHEN completed IS NOT NULL AND completed_flag IS NULL
                    THEN 'completed: ''' || left(CAST(completed AS VARCHAR), 60) || ''' is not true or false'
            END,
            CASE
                WHEN liked IS NOT NULL AND liked_flag IS NULL
                    THEN 'liked: ''' || left(CAST(liked AS VARCHAR), 60) || ''' is not true or false'
            END,
            CASE
                WHEN shared IS NOT NULL AND shared_flag IS NULL
                    THEN 'shared: ''' || left(CAST(shared AS VARCHAR), 60) || ''' is not true or false'
            END,
            CASE
                WHEN skipped IS NOT NULL AND skipped_flag IS NULL
                    THEN 'skipped: ''' || left(CAST(skipped AS VARCHAR), 60) || ''' is not true or false'
            END,
            CASE
                WHEN positive IS NOT NULL AND positive_flag IS NULL
                    THEN 'positive: ''' || left(CAST(positive AS VARCHAR), 60) || ''' is not true or false'
            END
        ), '') END AS fault
    FROM parsed
),

-- From here on without the text of sound rows: ranking sorts the whole range, and text made it twice as slow.
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
        CASE
            WHEN fault IS NOT NULL AND row_number IS NOT NULL THEN CAST(to_json(struct_pack(
                user_id := user_id, item_id := item_id, ts := ts, watch_s := watch_s, rating := rating,
                completed := completed, liked := liked, shared := shared, skipped := skipped, positive := positive
            )) AS VARCHAR)
        END AS text
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
        WHEN reason IS NOT NULL THEN CAST(to_json(struct_pack(
            user_id := user_id, item_id := item_id, ts := ts, watch_s := watch_s, rating := rating,
            completed := completed, liked := liked, shared := shared, skipped := skipped, positive := positive
        )) AS VARCHAR)
    END AS payload
FROM judged
