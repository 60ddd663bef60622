-- How many landing rows were read, and how many rows of forgotten users were not.
SELECT
    (SELECT coalesce(sum(files.rows), 0) FROM raw.landing_files AS files) AS rows_read,
    (SELECT coalesce(sum(unread.rows), 0) FROM raw.forgotten_rows AS unread) AS forgotten
