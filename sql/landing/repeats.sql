-- Rows of doubtful_feedback that repeat an earlier row; a row that repeats it with other values has a reason.
-- A request names an item once. Of rows with the same request_id and item_id that are at most $window_days apart, the
-- first by file and row counts. Rows are compared in pairs, so that the result does not depend on the days that are
-- read.
-- Reads doubtful_feedback.
WITH suspects AS (
    SELECT
        *,
        row(
            user_id, ts, history, cluster_id, policy, table_version, taxonomy_version, position, propensity, watch_s,
            completed, liked, shared, skipped, positive
        ) AS content,
        to_json(
            struct_pack(
                request_id := request_id, item_id := item_id, user_id := user_id, ts := ts, history := history,
                cluster_id := cluster_id, policy := policy, table_version := table_version,
                taxonomy_version := taxonomy_version, position := position, propensity := propensity,
                watch_s := watch_s, completed := completed, liked := liked, shared := shared, skipped := skipped,
                positive := positive
            )
        ) AS landed
    FROM doubtful_feedback
    WHERE suspect AND reason IS NULL
),

repeats AS (
    SELECT
        later.file,
        later.row_number,
        later.request_id,
        later.content,
        later.landed,
        min_by(first.content, (first.file, first.row_number)) AS first_content,
        min_by(first.file || ', row ' || first.row_number, (first.file, first.row_number)) AS first_place
    FROM suspects AS later
    INNER JOIN suspects AS first ON later.request_id = first.request_id AND later.item_id = first.item_id
    WHERE abs(date_diff('day', CAST(first.ts AS DATE), CAST(later.ts AS DATE))) <= $window_days
        AND (first.file < later.file OR (first.file = later.file AND first.row_number < later.row_number))
    GROUP BY later.file, later.row_number, later.request_id, later.content, later.landed
),

judged AS (
    SELECT *, (content IS DISTINCT FROM first_content) AS differs
    FROM repeats
)

SELECT
    file,
    row_number,
    CASE
        WHEN differs
            THEN
                'request_id: duplicate request id ''' || left(request_id, 60)
                || ''' with other values in ' || first_place
    END AS reason,
    CASE WHEN differs THEN CAST(landed AS VARCHAR) END AS payload
FROM judged
