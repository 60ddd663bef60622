-- Lines of one CSV file as text, numbered in file order.
-- $file; $columns: its header as {name: 'VARCHAR'}; $delimiter.
SELECT *, row_number() OVER () AS row_number
FROM read_csv(
        $file, columns = $columns, header = true, auto_detect = false, delim = $delimiter, quote = '"', escape = '"',
        hive_partitioning = false
    )
