-- The clusters of the standing taxonomy with the number of their items, and the titles of the $examples items that are
-- nearest to the middle of each; where an item has no title, its id.
WITH ranked AS (
    SELECT
        assigned.taxonomy_version,
        assigned.cluster_id,
        coalesce(items.title, assigned.item_id) AS title,
        row_number() OVER (
            PARTITION BY assigned.taxonomy_version, assigned.cluster_id
            ORDER BY assigned.similarity DESC, assigned.item_id ASC
        ) AS place
    FROM interests.item_clusters AS assigned
    LEFT JOIN raw.items AS items ON assigned.item_id = items.item_id
)

SELECT
    clusters.cluster_id,
    clusters.label,
    count(ranked.title) AS items,
    coalesce(
        list(ranked.title ORDER BY ranked.place) FILTER (WHERE ranked.place <= $examples),
        []
    ) AS titles
FROM interests.clusters AS clusters
LEFT JOIN ranked
    ON clusters.taxonomy_version = ranked.taxonomy_version AND clusters.cluster_id = ranked.cluster_id
GROUP BY clusters.cluster_id, clusters.label
ORDER BY clusters.cluster_id
