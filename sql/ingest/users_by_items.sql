-- How many users met how many distinct items.
SELECT items, count(*) AS users
FROM (
    SELECT user_id, count(DISTINCT item_id) AS items
    FROM raw.events
    GROUP BY user_id
) AS met
GROUP BY items
ORDER BY items
