-- How many events have each rating.
SELECT rating, count(*) AS events
FROM raw.events
WHERE rating IS NOT NULL
GROUP BY rating
ORDER BY rating
