-- Rows of the items landing files: typed, with the reason where a row breaks the data contract.
-- Reads landing_items, where every column is text and blank is null; embedding_list holds the vectors of Parquet files.
-- $first_day: first day of the calendar, which rejected rows without an arrival day are filed under.
WITH parsed AS (
    SELECT
        *,
        TRY_CAST(duration_s AS DOUBLE) AS duration,
        landed_moment(published_at) AS published_moment,
        landed_moment(updated_at) AS updated_moment,
        coalesce(embedding_list, TRY_CAST(embedding AS FLOAT[])) AS vector,
        landed_tags(tags) AS tag_list
    FROM landing_items
),

cleaned AS (
    SELECT
        *,
        list_filter(list_transform(tag_list, LAMBDA tag: trim(tag)), LAMBDA tag: tag <> '') AS cleaned_tags
    FROM parsed
),

checked AS (
    SELECT
        *,
        row_fault(
            row_number,
            concat_ws(
                '; ',
                id_fault('item_id', item_id),
                CASE
                    WHEN coalesce(title, category, embedding) IS NULL AND embedding_list IS NULL
                        AND coalesce(len(cleaned_tags), 0) = 0
                        THEN 'title, tags, category, embedding: all missing, at least one is needed'
                END,
                CASE WHEN tags IS NOT NULL AND tag_list IS NULL THEN value_fault('tags', tags, 'is not a list') END,
                amount_fault('duration_s', duration_s, duration),
                moment_fault('published_at', published_at, published_moment),
                moment_fault('updated_at', updated_at, updated_moment),
                CASE
                    WHEN embedding IS NULL AND embedding_list IS NULL THEN NULL
                    WHEN vector IS NULL OR len(vector) = 0
                        OR len(list_filter(vector, LAMBDA x: isfinite(x) IS NOT TRUE)) > 0
                        THEN 'embedding: not a list of finite numbers'
                END
            )
        ) AS reason
    FROM cleaned
)

SELECT
    coalesce(arrival_day, CAST($first_day AS DATE)) AS day,
    file,
    row_number,
    reason,
    item_id,
    title,
    description,
    CASE WHEN len(cleaned_tags) > 0 THEN cleaned_tags END AS tags,
    category,
    duration AS duration_s,
    published_moment AS published_at,
    updated_moment AS updated_at,
    vector AS embedding,
    rejected_payload(
        row_number,
        reason,
        struct_pack(
            item_id := item_id, title := title, description := description, tags := tags, category := category,
            duration_s := duration_s, published_at := published_at, updated_at := updated_at,
            embedding := coalesce(embedding, CAST(to_json(embedding_list) AS VARCHAR))
        )
    ) AS payload
FROM checked
