-- What the catalogue holds: its items, and how many of them differ in what clusters are made from.
SELECT
    count(*) AS items,
    count(DISTINCT hash(title, list_sort(tags), category, description, embedding)) AS distinct_texts
FROM raw.items
