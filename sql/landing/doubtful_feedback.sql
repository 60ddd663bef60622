-- Rows of typed_feedback that break the data contract, with the reason, and rows that may repeat another one, on which
-- landing.repeats decides. All such rows of wanted_days; of the other read_days only rows that may repeat one of them.
-- History, cluster and taxonomy may be missing together where the policy is `random`.
-- Reads typed_feedback, wanted_days, repeated_requests and raw.items.
WITH looked_at AS (
    SELECT
        typed.*,
        hash(typed.request_id, typed.item_id) IN (
            SELECT repeated_requests.request_item FROM repeated_requests
        ) AS suspect,
        known.item_id IS NOT NULL AS item_known,
        coalesce(
            typed.policy = 'random'
            AND typed.landed_history IS NULL
            AND typed.landed_cluster_id IS NULL
            AND typed.taxonomy_version IS NULL,
            FALSE
        ) AS without_taxonomy
    FROM typed_feedback AS typed
    LEFT JOIN raw.items AS known ON typed.item_id = known.item_id
),

judged AS (
    SELECT
        *,
        row_fault(
            row_number,
            concat_ws(
                '; ',
                id_fault('request_id', request_id),
                item_fault(item_id, item_known),
                id_fault('user_id', user_id),
                missing_fault('ts', landed_ts),
                moment_fault('ts', landed_ts, ts),
                missing_fault('policy', policy),
                CASE
                    WHEN without_taxonomy THEN NULL
                    WHEN landed_history IS NULL THEN 'history: missing'
                    WHEN (list_min(history) >= 0) IS NOT TRUE
                        OR list_count(history) < len(history)
                        OR (
                            typeof(landed_history) <> 'INTEGER[]'
                            AND CAST(history AS DOUBLE[]) <> list_sort(TRY_CAST(landed_history AS DOUBLE[]))
                        )
                        THEN value_fault('history', landed_history, 'is not a list of cluster ids')
                    WHEN len(list_filter(range(1, len(history)), LAMBDA place: history[place] = history[place + 1])) > 0
                        THEN 'history: ' || left(CAST(landed_history AS VARCHAR), 60) || ' names a cluster twice'
                END,
                CASE
                    WHEN without_taxonomy THEN NULL
                    WHEN landed_cluster_id IS NULL THEN 'cluster_id: missing'
                    WHEN (cluster_id >= 0 AND cluster_id = TRY_CAST(landed_cluster_id AS DOUBLE)) IS NOT TRUE
                        THEN value_fault('cluster_id', landed_cluster_id, 'is not a cluster id')
                END,
                CASE WHEN taxonomy_version IS NULL AND NOT without_taxonomy THEN 'taxonomy_version: missing' END,
                CASE WHEN table_version IS NULL AND policy <> 'random' THEN 'table_version: missing' END,
                CASE
                    WHEN landed_position IS NOT NULL
                        AND (position >= 0 AND position = TRY_CAST(landed_position AS DOUBLE)) IS NOT TRUE
                        THEN value_fault('position', landed_position, 'is not a place counted from 0')
                END,
                CASE
                    WHEN landed_propensity IS NOT NULL AND (propensity > 0 AND propensity <= 1) IS NOT TRUE
                        THEN value_fault('propensity', landed_propensity, 'is not a probability above 0 and up to 1')
                END,
                amount_fault('watch_s', landed_watch_s, watch_s),
                flag_fault('completed', landed_completed, completed),
                flag_fault('liked', landed_liked, liked),
                flag_fault('shared', landed_shared, shared),
                flag_fault('skipped', landed_skipped, skipped),
                flag_fault('positive', landed_positive, positive)
            )
        ) AS reason
    FROM looked_at
    WHERE suspect OR day IN (SELECT wanted_days.day FROM wanted_days)
)

SELECT
    * EXCLUDE (
        item_known, without_taxonomy, landed_ts, landed_history, landed_cluster_id, landed_position, landed_propensity,
        landed_watch_s, landed_completed, landed_liked, landed_shared, landed_skipped, landed_positive
    ),
    FALSE AS duplicate,
    rejected_payload(
        row_number,
        reason,
        struct_pack(
            request_id := request_id, item_id := item_id, user_id := user_id, ts := landed_ts,
            history := landed_history, cluster_id := landed_cluster_id, policy := policy,
            table_version := table_version, taxonomy_version := taxonomy_version, position := landed_position,
            propensity := landed_propensity, watch_s := landed_watch_s, completed := landed_completed,
            liked := landed_liked, shared := landed_shared, skipped := landed_skipped, positive := landed_positive
        )
    ) AS payload
FROM judged
WHERE reason IS NOT NULL OR suspect
