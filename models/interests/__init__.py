"""Interest clusters: item embeddings, clusters, their labels, the taxonomy and its map."""
