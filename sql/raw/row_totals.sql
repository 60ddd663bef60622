-- The number of landing rows that were read, and the number of rows of forgotten users that were not read.
SELECT
    (SELECT coalesce(sum(files.rows), 0) FROM raw.landing_files AS files) AS rows_read,
    (SELECT coalesce(sum(unread.rows), 0) FROM raw.forgotten_rows AS unread) AS forgotten
