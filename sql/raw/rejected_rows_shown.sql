-- Rejected rows of a $day, of a $kind and with the text $reason in their reason; null means any. With `fault`, the
-- reason without the values of the row, by which they are counted.
-- Reads raw.rejected_rows, and source_rows: the rows of data sets that could not be converted.
WITH rejected AS (
    SELECT kind, day, file, row_number, reason, payload
    FROM raw.rejected_rows
    UNION ALL
    SELECT 'source' AS kind, CAST(NULL AS DATE) AS day, file, line AS row_number, reason, payload
    FROM source_rows
)

SELECT
    *,
    regexp_replace(
        regexp_replace(reason, '''[^'']*''', '''…''', 'g'), ': [^'' ;]+ (is|lies) ', ': ''…'' \1 ', 'g'
    ) AS fault
FROM rejected
WHERE
    ($day IS NULL OR day = CAST($day AS DATE))
    AND ($kind IS NULL OR kind = $kind)
    AND ($reason IS NULL OR contains(lower(reason), lower($reason)))
