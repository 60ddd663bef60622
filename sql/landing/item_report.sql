-- The report for items: items kept, rows rejected, and rows that a later row of the item replaced.
-- Reads raw.items and checked_items.
SELECT
    kept.rows,
    checked.rejected,
    checked.rows - checked.rejected - kept.rows AS duplicates
FROM (SELECT count(*) AS rows, count(reason) AS rejected FROM checked_items) AS checked
CROSS JOIN (SELECT count(*) AS rows FROM raw.items) AS kept
