"""Landing to raw as one writes it by hand for one platform whose files are known: feedback in Parquet, by day.

The same validation, deduplication and raw tables as the project's, but no fingerprints, no late days, no other formats,
no mixed schemas, no outcome files: everything is read and written anew at every run.
"""

import time
from pathlib import Path

import duckdb

_ITEMS = """
    CREATE TABLE raw.items AS
    SELECT item_id, title, tags, duration_s
    FROM read_parquet($files)
    QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY item_id) = 1
"""

_CHECKED = """
    CREATE TEMP TABLE checked AS
    WITH landed AS (
        SELECT
            substr(filename, length($landing) + 2) AS file,
            file_row_number + 1 AS row_number,
            nullif(trim(request_id), '') AS request_id,
            nullif(trim(item_id), '') AS item_id,
            nullif(trim(user_id), '') AS user_id,
            make_timestamp(epoch_us(ts)) AS ts,
            least(greatest(CAST(make_timestamp(epoch_us(ts)) AS DATE), $first_day), $last_day) AS day,
            history,
            cluster_id,
            nullif(trim(policy), '') AS policy,
            nullif(trim(table_version), '') AS table_version,
            nullif(trim(taxonomy_version), '') AS taxonomy_version,
            position,
            propensity,
            watch_s,
            completed,
            liked,
            shared,
            skipped
        FROM read_parquet($files, filename = true, file_row_number = true)
    ),
    known AS (
        SELECT
            *,
            policy = 'random' AND history IS NULL AND cluster_id IS NULL AND taxonomy_version IS NULL
                AS without_taxonomy
        FROM landed
    ),
    judged AS (
        SELECT
            known.*,
            items.duration_s,
            nullif(concat_ws(
                '; ',
                CASE WHEN request_id IS NULL THEN 'request_id: missing' END,
                CASE
                    WHEN known.item_id IS NULL THEN 'item_id: missing'
                    WHEN items.item_id IS NULL
                        THEN 'item_id: ''' || left(known.item_id, 60) || ''' is not among the items'
                END,
                CASE WHEN user_id IS NULL THEN 'user_id: missing' END,
                CASE
                    WHEN ts IS NULL THEN 'ts: missing'
                    WHEN CAST(ts AS DATE) <> day THEN 'ts: outside the calendar'
                END,
                CASE WHEN policy IS NULL THEN 'policy: missing' END,
                CASE
                    WHEN without_taxonomy THEN NULL
                    WHEN history IS NULL THEN 'history: missing'
                    WHEN len(history) = 0 OR list_min(history) < 0 OR list_count(history) < len(history)
                        THEN 'history: ''' || CAST(history AS VARCHAR) || ''' is not a list of cluster ids'
                    WHEN len(list_distinct(history)) < len(history)
                        THEN 'history: ' || CAST(history AS VARCHAR) || ' names a cluster twice'
                END,
                CASE
                    WHEN without_taxonomy THEN NULL
                    WHEN cluster_id IS NULL THEN 'cluster_id: missing'
                    WHEN cluster_id < 0 THEN 'cluster_id: ''' || cluster_id || ''' is not a cluster id'
                END,
                CASE
                    WHEN taxonomy_version IS NULL AND without_taxonomy IS NOT TRUE
                        THEN 'taxonomy_version: missing'
                END,
                CASE WHEN table_version IS NULL AND policy <> 'random' THEN 'table_version: missing' END,
                CASE WHEN position < 0 THEN 'position: ''' || position || ''' is not a place counted from 0' END,
                CASE
                    WHEN (propensity > 0 AND propensity <= 1) IS FALSE
                        THEN 'propensity: ''' || propensity || ''' is not a probability above 0 and up to 1'
                END,
                CASE
                    WHEN NOT isfinite(watch_s) THEN 'watch_s: ''' || watch_s || ''' is not a number'
                    WHEN watch_s < 0 THEN 'watch_s: ' || watch_s || ' is negative'
                END
            ), '') AS fault
        FROM known
        LEFT JOIN raw.items AS items ON items.item_id = known.item_id
    )
    SELECT * EXCLUDE (without_taxonomy) FROM judged
"""

# Of the few requests that name an item twice the first row by file counts; one with other values is rejected.
_REPEATED = """
    CREATE TEMP TABLE repeated AS
    WITH again AS (
        SELECT request_id, item_id FROM checked WHERE fault IS NULL GROUP BY ALL HAVING count(*) > 1
    ),
    copies AS (
        SELECT
            file,
            row_number,
            row_number() OVER first_row AS place,
            hash(
                user_id, ts, list_sort(history), cluster_id, policy, table_version, taxonomy_version, position,
                propensity, watch_s, completed, liked, shared, skipped
            ) AS content,
            first_value(content) OVER first_row AS first_content,
            first_value(file || ', row ' || row_number) OVER first_row AS first_place
        FROM checked
        SEMI JOIN again USING (request_id, item_id)
        WHERE fault IS NULL
        WINDOW first_row AS (PARTITION BY request_id, item_id ORDER BY file, row_number)
    )
    SELECT file, row_number, content <> first_content AS conflicting, first_place FROM copies WHERE place > 1
"""

_FEEDBACK = """
    CREATE TABLE raw.feedback_logs AS
    SELECT
        day, request_id, item_id, user_id, ts, list_sort(history) AS history, cluster_id, policy, table_version,
        taxonomy_version, position, propensity, watch_s, completed, liked, shared, skipped,
        coalesce(liked OR completed OR watch_s >= 0.5 * nullif(duration_s, 0), false) AS positive,
        ts + INTERVAL 24 HOURS <= CAST($last_day + 1 AS TIMESTAMP) AS final
    FROM checked
    ANTI JOIN repeated USING (file, row_number)
    WHERE fault IS NULL
"""

_REJECTED = """
    CREATE TABLE raw.rejected_rows AS
    SELECT
        'feedback' AS kind,
        day,
        file,
        row_number,
        coalesce(
            fault, 'request_id: duplicate request id ''' || request_id || ''' with other values in ' || first_place
        ) AS reason,
        CAST(to_json(struct_pack(
            request_id, item_id, user_id, ts, history, cluster_id, policy, table_version, taxonomy_version, position,
            propensity, watch_s, completed, liked, shared, skipped
        )) AS VARCHAR) AS payload
    FROM checked
    LEFT JOIN repeated USING (file, row_number)
    WHERE fault IS NOT NULL OR conflicting
"""


def ingest(landing: Path, database: Path, first_day, last_day, memory_limit: str) -> dict[str, float]:
    """Fill the raw tables of a new database; returns the seconds of each."""
    days = {"first_day": first_day, "last_day": last_day}
    seconds = {}
    with duckdb.connect(str(database), config={"memory_limit": memory_limit}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA raw")
        for name, sql, parameters in (
            ("items", _ITEMS, {"files": str(landing / "items" / "*.parquet")}),
            (
                "checked",
                _CHECKED,
                {"files": str(landing / "feedback" / "*" / "*.parquet"), "landing": str(landing)} | days,
            ),
            ("repeated", _REPEATED, None),
            ("feedback", _FEEDBACK, {"last_day": last_day}),
            ("rejected", _REJECTED, None),
        ):
            started = time.perf_counter()
            connection.execute(sql, parameters)
            seconds[name] = time.perf_counter() - started
    return seconds
