"""What a platform of many clusters would have: labels and attributes of the simulated world of 768 topics."""

import datetime as dt

import numpy as np

from models.arena.catalogue import Catalogue
from models.arena.topics import FACETED_SIZE, attribute_matrix, load_topics
from models.interests.cluster_labels import label_clusters
from models.interests.item_embeddings import embed_items

ITEMS = 20 * FACETED_SIZE


def faceted_platform(log) -> tuple[list[str], np.ndarray]:
    """The label of each topic, and attributes [topics, attributes].

    Labels are those that the line would write if its clusters were the topics: one to four keywords of their items.
    """
    topics, names = load_topics(FACETED_SIZE)
    catalogue = Catalogue(topics, ITEMS, dt.date(2026, 1, 5), seed=0)
    embedder, embeddings = embed_items(catalogue.first_frame, "tfidf", 0, log)
    labels, _ = label_clusters(catalogue.first_frame, catalogue.main_topics, FACETED_SIZE, embedder, embeddings, 0, log)
    return [label.text for label in labels], attribute_matrix(topics, names)
