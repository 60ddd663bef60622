-- Rejected landing rows of a $day, of a $kind and with the text $reason in their reason; null means any. With `fault`,
-- the reason without the values of the row, by which they are counted.
SELECT
    kind,
    day,
    file,
    row_number,
    reason,
    payload,
    regexp_replace(
        regexp_replace(reason, '''[^'']*''', '''…''', 'g'), ': [^'' ;]+ (is|lies) ', ': ''…'' \1 ', 'g'
    ) AS fault
FROM raw.rejected_rows
WHERE
    ($day IS NULL OR day = CAST($day AS DATE))
    AND ($kind IS NULL OR kind = $kind)
    AND ($reason IS NULL OR contains(lower(reason), lower($reason)))
