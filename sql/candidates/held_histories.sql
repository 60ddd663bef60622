-- The histories that users hold at the end of all days, and how many hold each.
-- Reads histories.
SELECT history, count(*) AS users
FROM histories
GROUP BY history
ORDER BY history
