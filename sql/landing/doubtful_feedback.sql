-- The rows of typed_feedback that break the contract, with the reason, and those that may repeat another one, which
-- landing.repeats judges: of the wanted_days all, of the other read_days those alone that may repeat one of them.
-- History, cluster and taxonomy may be missing together where the policy is `random`.
-- Reads typed_feedback, wanted_days, repeated_requests and raw.items.
-- $first_day, $last_day: the calendar; the last day is null while the log is open.
WITH looked_at AS (
    SELECT
        typed.*,
        hash(typed.request_id, typed.item_id) IN (SELECT repeated_requests.request_item FROM repeated_requests) AS suspect,
        known.item_id IS NOT NULL AS item_known,
        coalesce(
            policy = 'random' AND landed_history IS NULL AND landed_cluster_id IS NULL AND taxonomy_version IS NULL, false
        ) AS without_taxonomy
    FROM typed_feedback AS typed
    LEFT JOIN raw.items AS known ON known.item_id = typed.item_id
),

judged AS (
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
                WHEN landed_ts IS NULL THEN 'ts: missing'
                WHEN ts IS NULL THEN 'ts: ''' || left(CAST(landed_ts AS VARCHAR), 60) || ''' is not an ISO 8601 time'
                WHEN CAST(ts AS DATE) <> day
                    THEN 'ts: ''' || left(CAST(landed_ts AS VARCHAR), 60) || ''' lies outside the calendar (first_day '
                        || CAST($first_day AS VARCHAR) || ', last_day ' || coalesce(CAST($last_day AS VARCHAR), 'open') || ')'
            END,
            CASE WHEN policy IS NULL THEN 'policy: missing' END,
            CASE
                WHEN without_taxonomy THEN NULL
                WHEN landed_history IS NULL THEN 'history: missing'
                WHEN (list_min(history) >= 0) IS NOT TRUE
                    OR list_count(history) < len(history)
                    OR (
                        typeof(landed_history) <> 'INTEGER[]'
                        AND CAST(history AS DOUBLE[]) <> list_sort(TRY_CAST(landed_history AS DOUBLE[]))
                    )
                    THEN 'history: ''' || left(CAST(landed_history AS VARCHAR), 60) || ''' is not a list of cluster ids'
                WHEN len(list_filter(history, lambda cluster, place: cluster = history[place + 1])) > 0
                    THEN 'history: ' || left(CAST(landed_history AS VARCHAR), 60) || ' names a cluster twice'
            END,
            CASE
                WHEN without_taxonomy THEN NULL
                WHEN landed_cluster_id IS NULL THEN 'cluster_id: missing'
                WHEN (cluster_id >= 0 AND cluster_id = TRY_CAST(landed_cluster_id AS DOUBLE)) IS NOT TRUE
                    THEN 'cluster_id: ''' || left(CAST(landed_cluster_id AS VARCHAR), 60) || ''' is not a cluster id'
            END,
            CASE WHEN taxonomy_version IS NULL AND NOT without_taxonomy THEN 'taxonomy_version: missing' END,
            CASE WHEN table_version IS NULL AND policy <> 'random' THEN 'table_version: missing' END,
            CASE
                WHEN landed_position IS NOT NULL
                    AND (position >= 0 AND position = TRY_CAST(landed_position AS DOUBLE)) IS NOT TRUE
                    THEN 'position: ''' || left(CAST(landed_position AS VARCHAR), 60) || ''' is not a place counted from 0'
            END,
            CASE
                WHEN landed_propensity IS NOT NULL AND (propensity > 0 AND propensity <= 1) IS NOT TRUE
                    THEN 'propensity: ''' || left(CAST(landed_propensity AS VARCHAR), 60) || ''' is not a probability above 0 and up to 1'
            END,
            CASE
                WHEN landed_watch_s IS NULL THEN NULL
                WHEN watch_s IS NULL OR NOT isfinite(watch_s)
                    THEN 'watch_s: ''' || left(CAST(landed_watch_s AS VARCHAR), 60) || ''' is not a number'
                WHEN watch_s < 0 THEN 'watch_s: ' || landed_watch_s || ' is negative'
            END,
            CASE
                WHEN landed_completed IS NOT NULL AND completed IS NULL
                    THEN 'completed: ''' || left(CAST(landed_completed AS VARCHAR), 60) || ''' is not true or false'
            END,
            CASE
                WHEN landed_liked IS NOT NULL AND liked IS NULL
                    THEN 'liked: ''' || left(CAST(landed_liked AS VARCHAR), 60) || ''' is not true or false'
            END,
            CASE
                WHEN landed_shared IS NOT NULL AND shared IS NULL
                    THEN 'shared: ''' || left(CAST(landed_shared AS VARCHAR), 60) || ''' is not true or false'
            END,
            CASE
                WHEN landed_skipped IS NOT NULL AND skipped IS NULL
                    THEN 'skipped: ''' || left(CAST(landed_skipped AS VARCHAR), 60) || ''' is not true or false'
            END,
            CASE
                WHEN landed_positive IS NOT NULL AND positive IS NULL
                    THEN 'positive: ''' || left(CAST(landed_positive AS VARCHAR), 60) || ''' is not true or false'
            END
        ), '') END AS reason
    FROM looked_at
    WHERE suspect OR day IN (SELECT wanted_days.day FROM wanted_days)
)

SELECT
    * EXCLUDE (
        item_known, without_taxonomy, landed_ts, landed_history, landed_cluster_id, landed_position, landed_propensity,
        landed_watch_s, landed_completed, landed_liked, landed_shared, landed_skipped, landed_positive
    ),
    false AS duplicate,
    CASE
        WHEN reason IS NOT NULL AND row_number IS NOT NULL THEN CAST(to_json(struct_pack(
            request_id := request_id, item_id := item_id, user_id := user_id, ts := landed_ts,
            history := landed_history, cluster_id := landed_cluster_id, policy := policy,
            table_version := table_version, taxonomy_version := taxonomy_version, position := landed_position,
            propensity := landed_propensity, watch_s := landed_watch_s, completed := landed_completed,
            liked := landed_liked, shared := landed_shared, skipped := landed_skipped, positive := landed_positive
        )) AS VARCHAR)
    END AS payload
FROM judged
WHERE reason IS NOT NULL OR suspect
