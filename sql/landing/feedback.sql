-- Rows of the feedback landing files (impressions) that belong to a day of read_days: typed, with the reason where a row
-- breaks the contract, and `duplicate` where it says again what an earlier row said.
-- A request names an item once: of rows with one request_id and item_id that lie at most $window_days apart, the first by
-- file and row counts. History, cluster and taxonomy may be missing together where the policy is `random`.
-- Reads landing_feedback, where every column is text and blank is null, read_days and raw.items.
-- $first_day, $last_day: the calendar; the last day is null while the log is open.
WITH timed AS (
    SELECT
        *,
        CASE
            WHEN TRY_CAST(ts AS TIMESTAMPTZ) BETWEEN TIMESTAMPTZ '0001-01-01' AND TIMESTAMPTZ '9999-12-31'
                THEN CAST(TRY_CAST(ts AS TIMESTAMPTZ) AS TIMESTAMP)
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
),

parsed AS (
    SELECT
        landed.*,
        known.item_id IS NOT NULL AS item_known,
        policy = 'random' AND history IS NULL AND cluster_id IS NULL AND taxonomy_version IS NULL AS without_taxonomy,
        TRY_CAST(history AS DOUBLE[]) AS history_numbers,
        TRY_CAST(cluster_id AS DOUBLE) AS cluster_number,
        TRY_CAST(position AS DOUBLE) AS position_number,
        TRY_CAST(propensity AS DOUBLE) AS propensity_number,
        TRY_CAST(watch_s AS DOUBLE) AS watch_number,
        -- Tools that know no missing booleans write 1.0 and 0.0.
        TRY_CAST(replace(completed, '.0', '') AS BOOLEAN) AS completed_flag,
        TRY_CAST(replace(liked, '.0', '') AS BOOLEAN) AS liked_flag,
        TRY_CAST(replace(shared, '.0', '') AS BOOLEAN) AS shared_flag,
        TRY_CAST(replace(skipped, '.0', '') AS BOOLEAN) AS skipped_flag,
        TRY_CAST(replace(positive, '.0', '') AS BOOLEAN) AS positive_flag
    FROM dated AS landed
    LEFT JOIN raw.items AS known ON known.item_id = landed.item_id
    WHERE landed.day IN (SELECT day FROM read_days)
),

checked AS (
    SELECT
        *,
        CASE WHEN row_number IS NULL THEN 'empty file: it holds no bytes' ELSE nullif(concat_ws(
            '; ',
            CASE WHEN request_id IS NULL THEN 'request_id: missing' END,
            CASE
                WHEN item_id IS NULL THEN 'item_id: missing'
                WHEN NOT item_known THEN 'item_id: ''' || left(item_id, 60) || ''' is not among the items'
            END,
            CASE WHEN user_id IS NULL THEN 'user_id: missing' END,
            CASE
                WHEN ts IS NULL THEN 'ts: missing'
                WHEN moment IS NULL THEN 'ts: ''' || left(ts, 60) || ''' is not an ISO 8601 time'
                WHEN CAST(moment AS DATE) <> day
                    THEN 'ts: ''' || left(ts, 60) || ''' lies outside the calendar (first_day '
                        || CAST($first_day AS VARCHAR) || ', last_day ' || coalesce(CAST($last_day AS VARCHAR), 'open') || ')'
            END,
            CASE WHEN policy IS NULL THEN 'policy: missing' END,
            CASE
                WHEN without_taxonomy THEN NULL
                WHEN history IS NULL THEN 'history: missing'
                WHEN history_numbers IS NULL OR len(history_numbers) = 0
                    OR len(list_filter(history_numbers, lambda x: (x BETWEEN 0 AND 2147483647 AND x = floor(x)) IS NOT TRUE)) > 0
                    THEN 'history: ''' || left(history, 60) || ''' is not a list of cluster ids'
                WHEN len(list_distinct(history_numbers)) < len(history_numbers)
                    THEN 'history: ' || left(history, 60) || ' names a cluster twice'
            END,
            CASE
                WHEN without_taxonomy THEN NULL
                WHEN cluster_id IS NULL THEN 'cluster_id: missing'
                WHEN (cluster_number BETWEEN 0 AND 2147483647 AND cluster_number = floor(cluster_number)) IS NOT TRUE
                    THEN 'cluster_id: ''' || left(cluster_id, 60) || ''' is not a cluster id'
            END,
            CASE WHEN taxonomy_version IS NULL AND NOT coalesce(without_taxonomy, false) THEN 'taxonomy_version: missing' END,
            CASE WHEN table_version IS NULL AND policy <> 'random' THEN 'table_version: missing' END,
            CASE
                WHEN position IS NOT NULL
                    AND (position_number BETWEEN 0 AND 2147483647 AND position_number = floor(position_number)) IS NOT TRUE
                    THEN 'position: ''' || left(position, 60) || ''' is not a place counted from 0'
            END,
            CASE
                WHEN propensity IS NOT NULL AND (propensity_number > 0 AND propensity_number <= 1) IS NOT TRUE
                    THEN 'propensity: ''' || left(propensity, 60) || ''' is not a probability above 0 and up to 1'
            END,
            CASE
                WHEN watch_s IS NULL THEN NULL
                WHEN watch_number IS NULL OR NOT isfinite(watch_number)
                    THEN 'watch_s: ''' || left(watch_s, 60) || ''' is not a number'
                WHEN watch_number < 0 THEN 'watch_s: ' || watch_s || ' is negative'
            END,
            CASE
                WHEN completed IS NOT NULL AND completed_flag IS NULL
                    THEN 'completed: ''' || left(completed, 60) || ''' is not true or false'
            END,
            CASE
                WHEN liked IS NOT NULL AND liked_flag IS NULL
                    THEN 'liked: ''' || left(liked, 60) || ''' is not true or false'
            END,
            CASE
                WHEN shared IS NOT NULL AND shared_flag IS NULL
                    THEN 'shared: ''' || left(shared, 60) || ''' is not true or false'
            END,
            CASE
                WHEN skipped IS NOT NULL AND skipped_flag IS NULL
                    THEN 'skipped: ''' || left(skipped, 60) || ''' is not true or false'
            END,
            CASE
                WHEN positive IS NOT NULL AND positive_flag IS NULL
                    THEN 'positive: ''' || left(positive, 60) || ''' is not true or false'
            END
        ), '') END AS fault
    FROM parsed
),

typed AS (
    SELECT
        *,
        list_sort(TRY_CAST(history_numbers AS INTEGER[])) AS history_set,
        row(
            user_id, moment, list_sort(history_numbers), cluster_number, policy, table_version, taxonomy_version,
            position_number, propensity_number, watch_number, completed_flag, liked_flag, shared_flag, skipped_flag,
            positive_flag
        ) AS content
    FROM checked
),

-- Asked pair by pair, not over the whole partition: what a row is must not depend on the range of days that is read.
earlier AS (
    SELECT
        later.file,
        later.row_number,
        min_by(first.content, (first.file, first.row_number)) AS first_content,
        min_by(first.file || ', row ' || first.row_number, (first.file, first.row_number)) AS first_place
    FROM typed AS later
    INNER JOIN typed AS first ON first.request_id = later.request_id AND first.item_id = later.item_id
    WHERE first.fault IS NULL
        AND later.fault IS NULL
        AND abs(date_diff('day', first.day, later.day)) <= $window_days
        AND (first.file < later.file OR (first.file = later.file AND first.row_number < later.row_number))
    GROUP BY later.file, later.row_number
),

judged AS (
    SELECT
        typed.*,
        earlier.file IS NOT NULL AS repeated,
        coalesce(fault, CASE
            WHEN earlier.file IS NOT NULL AND content IS DISTINCT FROM first_content
                THEN 'request_id: duplicate request id ''' || left(request_id, 60) || ''' with other values in ' || first_place
        END) AS reason
    FROM typed
    LEFT JOIN earlier ON earlier.file = typed.file AND earlier.row_number = typed.row_number
)

SELECT
    day,
    file,
    row_number,
    reason,
    reason IS NULL AND repeated AS duplicate,
    request_id,
    item_id,
    user_id,
    moment AS ts,
    history_set AS history,
    TRY_CAST(cluster_number AS INTEGER) AS cluster_id,
    policy,
    table_version,
    taxonomy_version,
    TRY_CAST(position_number AS INTEGER) AS position,
    propensity_number AS propensity,
    watch_number AS watch_s,
    completed_flag AS completed,
    liked_flag AS liked,
    shared_flag AS shared,
    skipped_flag AS skipped,
    positive_flag AS positive,
    CASE
        WHEN reason IS NOT NULL AND row_number IS NOT NULL THEN CAST(to_json(struct_pack(
            request_id := request_id, item_id := item_id, user_id := user_id, ts := ts, history := history,
            cluster_id := cluster_id, policy := policy, table_version := table_version,
            taxonomy_version := taxonomy_version, position := position, propensity := propensity, watch_s := watch_s,
            completed := completed, liked := liked, shared := shared, skipped := skipped, positive := positive
        )) AS VARCHAR)
    END AS payload
FROM judged
