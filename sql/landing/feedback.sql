-- Rows of the feedback landing files (impressions) that belong to a day of read_days. Columns of the data contract are
-- typed, and null where a value is missing or cannot be read; columns named landed_ hold the values as they landed.
-- The relation is read twice, for doubtful rows and for sound rows, and never stored: it is as large as the log.
-- Reads landing_feedback (a column is of its own type or text; blank is null) and read_days.
-- $first_day, $end: the calendar; rows of other days are out of scope. $partition: what `day` is the first day of.
WITH timed AS (
    SELECT *, landed_moment(ts) AS moment
    FROM landing_feedback
),

dated AS (
    SELECT *, partition_of(landed_day(moment, arrival_day, $first_day, $end), $partition) AS day
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
    -- Text may hold 1.0, which is a cluster id, or 1.5, which is none: the list then differs from what landed.
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
    landed_flag(completed) AS completed,
    landed_flag(liked) AS liked,
    landed_flag(shared) AS shared,
    landed_flag(skipped) AS skipped,
    landed_flag(positive) AS positive,
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
