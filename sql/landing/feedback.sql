-- Rows of the feedback landing files (impressions) that belong to a day of read_days, under the names of the contract: typed,
-- and null where a value is missing or cannot be read; under landed_ as they landed. It is read twice, for the doubtful
-- rows and for the sound ones, and never kept: a table of it would be as large as the log.
-- Reads landing_feedback, where a column is of its own type or text, and blank is null, and read_days.
-- $first_day, $last_day: the calendar; the last day is null while the log is open.
WITH timed AS (
    SELECT
        *,
        CASE
            WHEN TRY_CAST(ts AS TIMESTAMPTZ) BETWEEN TIMESTAMPTZ '0001-01-01' AND TIMESTAMPTZ '9999-12-31'
                THEN make_timestamp(epoch_us(TRY_CAST(ts AS TIMESTAMPTZ)))
        END AS moment
    FROM landing_feedback
),

dated AS (
    SELECT
        *,
        least(
            greatest(coalesce(CAST(moment AS DATE), arrival_day, CAST($first_day AS DATE)), CAST($first_day AS DATE)),
            CAST($last_day AS DATE)
        ) AS day
    FROM timed
)

SELECT
    day,
    file,
    row_number,
    request_id,
    item_id,
    user_id,
    moment AS ts,
    -- Text may hold 1.0, which is a cluster, and 1.5, which is none: such a list differs from the numbers that landed.
    CASE
        WHEN typeof(history) = 'INTEGER[]' THEN list_sort(TRY_CAST(history AS INTEGER[]))
        ELSE TRY_CAST(list_sort(TRY_CAST(history AS DOUBLE[])) AS INTEGER[])
    END AS history,
    TRY_CAST(TRY_CAST(cluster_id AS DOUBLE) AS INTEGER) AS cluster_id,
    policy,
    table_version,
    taxonomy_version,
    TRY_CAST(TRY_CAST(position AS DOUBLE) AS INTEGER) AS position,
    TRY_CAST(propensity AS DOUBLE) AS propensity,
    TRY_CAST(watch_s AS DOUBLE) AS watch_s,
    -- Tools that know no missing booleans write 1.0 and 0.0.
    CASE
        WHEN typeof(completed) = 'BOOLEAN' THEN TRY_CAST(completed AS BOOLEAN)
        ELSE TRY_CAST(replace(CAST(completed AS VARCHAR), '.0', '') AS BOOLEAN)
    END AS completed,
    CASE
        WHEN typeof(liked) = 'BOOLEAN' THEN TRY_CAST(liked AS BOOLEAN)
        ELSE TRY_CAST(replace(CAST(liked AS VARCHAR), '.0', '') AS BOOLEAN)
    END AS liked,
    CASE
        WHEN typeof(shared) = 'BOOLEAN' THEN TRY_CAST(shared AS BOOLEAN)
        ELSE TRY_CAST(replace(CAST(shared AS VARCHAR), '.0', '') AS BOOLEAN)
    END AS shared,
    CASE
        WHEN typeof(skipped) = 'BOOLEAN' THEN TRY_CAST(skipped AS BOOLEAN)
        ELSE TRY_CAST(replace(CAST(skipped AS VARCHAR), '.0', '') AS BOOLEAN)
    END AS skipped,
    CASE
        WHEN typeof(positive) = 'BOOLEAN' THEN TRY_CAST(positive AS BOOLEAN)
        ELSE TRY_CAST(replace(CAST(positive AS VARCHAR), '.0', '') AS BOOLEAN)
    END AS positive,
    ts AS landed_ts,
    history AS landed_history,
    cluster_id AS landed_cluster_id,
    position AS landed_position,
    propensity AS landed_propensity,
    watch_s AS landed_watch_s,
    completed AS landed_completed,
    liked AS landed_liked,
    shared AS landed_shared,
    skipped AS landed_skipped,
    positive AS landed_positive
FROM dated
WHERE day IN (SELECT read_days.day FROM read_days)
