-- Parquet files grouped by schema: one list of paths for each. $files.
SELECT list(path) AS paths
FROM (
    SELECT
        file_name AS path,
        string_agg(concat_ws(':', name, type, converted_type, logical_type, num_children), ';') AS signature
    FROM parquet_schema($files)
    GROUP BY file_name
) AS files
GROUP BY signature
