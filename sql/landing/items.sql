-- Rows of the items landing files: typed, with the reason where a row breaks the contract.
-- Reads landing_items, where every column is text and blank is null; embedding_list holds the vectors of Parquet files.
-- $first_day: first day of the calendar, which rejected rows without an arrival day are filed under.
WITH parsed AS (
    SELECT
        *,
        TRY_CAST(duration_s AS DOUBLE) AS duration,
        CAST(TRY_CAST(published_at AS TIMESTAMPTZ) AS TIMESTAMP) AS published_moment,
        CAST(TRY_CAST(updated_at AS TIMESTAMPTZ) AS TIMESTAMP) AS updated_moment,
        coalesce(embedding_list, TRY_CAST(embedding AS FLOAT[])) AS vector,
        CASE
            WHEN starts_with(tags, '[')
                THEN coalesce(TRY_CAST(TRY_CAST(tags AS JSON) AS VARCHAR[]), TRY_CAST(tags AS VARCHAR[]))
            ELSE string_split(tags, '|')
        END AS tag_list
    FROM landing_items
),

cleaned AS (
    SELECT
        *,
        list_filter(list_transform(tag_list, lambda tag: trim(tag)), lambda tag: tag <> '') AS cleaned_tags
    FROM parsed
),

checked AS (
    SELECT
        *,
        CASE WHEN row_number IS NULL THEN 'empty file: it holds no bytes' ELSE nullif(concat_ws(
            '; ',
            CASE WHEN item_id IS NULL THEN 'item_id: missing' END,
            CASE
                WHEN coalesce(title, category, embedding) IS NULL AND embedding_list IS NULL
                    AND coalesce(len(cleaned_tags), 0) = 0
                    THEN 'title, tags, category, embedding: all missing, at least one is needed'
            END,
            CASE WHEN tags IS NOT NULL AND tag_list IS NULL THEN 'tags: ''' || left(tags, 60) || ''' is not a list' END,
            CASE
                WHEN duration_s IS NULL THEN NULL
                WHEN duration IS NULL OR NOT isfinite(duration)
                    THEN 'duration_s: ''' || left(duration_s, 60) || ''' is not a number'
                WHEN duration < 0 THEN 'duration_s: ' || duration_s || ' is negative'
            END,
            CASE
                WHEN published_at IS NOT NULL
                    AND (published_moment BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31') IS NOT TRUE
                    THEN 'published_at: ''' || left(published_at, 60) || ''' is not an ISO 8601 time'
            END,
            CASE
                WHEN updated_at IS NOT NULL
                    AND (updated_moment BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31') IS NOT TRUE
                    THEN 'updated_at: ''' || left(updated_at, 60) || ''' is not an ISO 8601 time'
            END,
            CASE
                WHEN embedding IS NULL AND embedding_list IS NULL THEN NULL
                WHEN vector IS NULL OR len(vector) = 0
                    OR len(list_filter(vector, lambda x: isfinite(x) IS NOT TRUE)) > 0
                    THEN 'embedding: not a list of finite numbers'
            END
        ), '') END AS reason
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
    CASE
        WHEN reason IS NOT NULL AND row_number IS NOT NULL THEN CAST(to_json(struct_pack(
            item_id := item_id, title := title, description := description, tags := tags, category := category,
            duration_s := duration_s, published_at := published_at, updated_at := updated_at,
            embedding := coalesce(embedding, CAST(to_json(embedding_list) AS VARCHAR))
        )) AS VARCHAR)
    END AS payload
FROM checked
