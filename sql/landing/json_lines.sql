-- Objects of one JSON Lines file, numbered in file order. $file.
SELECT json, row_number() OVER () AS row_number
FROM read_ndjson_objects($file, hive_partitioning = false)
