-- Rows of the feedback landing files (impressions) that belong to a day of wanted_days: typed, with the reason where a row
-- breaks the contract; of the other read_days those alone that may repeat one of them. landing.repeats judges these.
-- History, cluster and taxonomy may be missing together where the policy is `random`.
-- Reads landing_feedback, where a column is of its own type or text, and blank is null, wanted_days, read_days,
-- repeated_requests and raw.items.
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
        hash(request_id, item_id) IN (SELECT repeated_requests.request_item FROM repeated_requests) AS suspect,
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
        list_sort(TRY_CAST(history AS DOUBLE[])) AS history_numbers,
        TRY_CAST(list_sort(TRY_CAST(history AS DOUBLE[])) AS INTEGER[]) AS history_clusters,
        TRY_CAST(cluster_id AS DOUBLE) AS cluster_number,
        TRY_CAST(position AS DOUBLE) AS position_number,
        TRY_CAST(propensity AS DOUBLE) AS propensity_number,
        TRY_CAST(watch_s AS DOUBLE) AS watch_number,
        -- Tools that know no missing booleans write 1.0 and 0.0.
        coalesce(TRY_CAST(completed AS BOOLEAN), TRY_CAST(replace(CAST(completed AS VARCHAR), '.0', '') AS BOOLEAN)) AS completed_flag,
        coalesce(TRY_CAST(liked AS BOOLEAN), TRY_CAST(replace(CAST(liked AS VARCHAR), '.0', '') AS BOOLEAN)) AS liked_flag,
        coalesce(TRY_CAST(shared AS BOOLEAN), TRY_CAST(replace(CAST(shared AS VARCHAR), '.0', '') AS BOOLEAN)) AS shared_flag,
        coalesce(TRY_CAST(skipped AS BOOLEAN), TRY_CAST(replace(CAST(skipped AS VARCHAR), '.0', '') AS BOOLEAN)) AS skipped_flag,
        coalesce(TRY_CAST(positive AS BOOLEAN), TRY_CAST(replace(CAST(positive AS VARCHAR), '.0', '') AS BOOLEAN)) AS positive_flag
    FROM dated AS landed
    LEFT JOIN raw.items AS known ON known.item_id = landed.item_id
    WHERE landed.day IN (SELECT day FROM wanted_days)
        OR (landed.suspect AND landed.day IN (SELECT day FROM read_days))
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
                WHEN moment IS NULL THEN 'ts: ''' || left(CAST(ts AS VARCHAR), 60) || ''' is not an ISO 8601 time'
                WHEN CAST(moment AS DATE) <> day
                    THEN 'ts: ''' || left(CAST(ts AS VARCHAR), 60) || ''' lies outside the calendar (first_day '
                        || CAST($first_day AS VARCHAR) || ', last_day ' || coalesce(CAST($last_day AS VARCHAR), 'open') || ')'
            END,
            CASE WHEN policy IS NULL THEN 'policy: missing' END,
            CASE
                WHEN without_taxonomy THEN NULL
                WHEN history IS NULL THEN 'history: missing'
                WHEN CAST(history_clusters AS DOUBLE[]) IS DISTINCT FROM history_numbers
                    OR (list_min(history_clusters) >= 0) IS NOT TRUE
                    OR list_count(history_clusters) < len(history_clusters)
                    THEN 'history: ''' || left(CAST(history AS VARCHAR), 60) || ''' is not a list of cluster ids'
                WHEN len(list_filter(history_clusters, lambda cluster, place: cluster = history_clusters[place + 1])) > 0
                    THEN 'history: ' || left(CAST(history AS VARCHAR), 60) || ' names a cluster twice'
            END,
            CASE
                WHEN without_taxonomy THEN NULL
                WHEN cluster_id IS NULL THEN 'cluster_id: missing'
                WHEN (cluster_number BETWEEN 0 AND 2147483647 AND cluster_number = floor(cluster_number)) IS NOT TRUE
                    THEN 'cluster_id: ''' || left(CAST(cluster_id AS VARCHAR), 60) || ''' is not a cluster id'
            END,
            CASE WHEN taxonomy_version IS NULL AND NOT coalesce(without_taxonomy, false) THEN 'taxonomy_version: missing' END,
            CASE WHEN table_version IS NULL AND policy <> 'random' THEN 'table_version: missing' END,
            CASE
                WHEN position IS NOT NULL
                    AND (position_number BETWEEN 0 AND 2147483647 AND position_number = floor(position_number)) IS NOT TRUE
                    THEN 'position: ''' || left(CAST(position AS VARCHAR), 60) || ''' is not a place counted from 0'
            END,
            CASE
                WHEN propensity IS NOT NULL AND (propensity_number > 0 AND propensity_number <= 1) IS NOT TRUE
                    THEN 'propensity: ''' || left(CAST(propensity AS VARCHAR), 60) || ''' is not a probability above 0 and up to 1'
            END,
            CASE
                WHEN watch_s IS NULL THEN NULL
                WHEN watch_number IS NULL OR NOT isfinite(watch_number)
                    THEN 'watch_s: ''' || left(CAST(watch_s AS VARCHAR), 60) || ''' is not a number'
                WHEN watch_number < 0 THEN 'watch_s: ' || watch_s || ' is negative'
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
)

SELECT
    day,
    file,
    row_number,
    fault AS reason,
    false AS duplicate,
    suspect,
    request_id,
    item_id,
    user_id,
    moment AS ts,
    history_clusters AS history,
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
        WHEN fault IS NOT NULL AND row_number IS NOT NULL THEN CAST(to_json(struct_pack(
            request_id := request_id, item_id := item_id, user_id := user_id, ts := ts, history := history,
            cluster_id := cluster_id, policy := policy, table_version := table_version,
            taxonomy_version := taxonomy_version, position := position, propensity := propensity, watch_s := watch_s,
            completed := completed, liked := liked, shared := shared, skipped := skipped, positive := positive
        )) AS VARCHAR)
    END AS payload
FROM checked
