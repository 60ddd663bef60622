-- Rows of Parquet files of one schema, with their file and their number in it. Folder names give no column.
-- $files: patterns of paths.
SELECT *
FROM read_parquet($files, filename = 'landing file', file_row_number = true, hive_partitioning = false)
