-- Every key that an object of a JSON Lines file has, in the order in which they come. $file.
SELECT name
FROM (
    SELECT unnest(json_keys(json)) AS name, row_number() OVER () AS place
    FROM read_ndjson_objects($file, hive_partitioning = false)
) AS keys
GROUP BY name
ORDER BY min(place)
