-- The catalogue: the latest row of every item, by updated_at, then by file name, then by row. Reads checked_items.
SELECT
    item_id,
    title,
    description,
    tags,
    category,
    duration_s,
    published_at,
    updated_at,
    embedding
FROM (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY item_id ORDER BY updated_at DESC NULLS LAST, file DESC, row_number DESC
        ) AS place
    FROM checked_items
    WHERE reason IS NULL
) AS ranked
WHERE place = 1
ORDER BY item_id
