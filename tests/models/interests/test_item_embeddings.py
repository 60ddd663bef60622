"""Embeddings of items: which method wins, unit length, the same space for items that come later, clear errors."""

import importlib.util

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from models.interests.item_embeddings import CURATED_WEIGHT, embed, embed_items


def items(**columns):
    count = len(next(iter(columns.values())))
    return pl.DataFrame({"item_id": [f"i{number}" for number in range(count)], **columns})


TEXTS = items(
    title=["Owl at night", "Heron in the marsh", "Sourdough bread", "Cake with frosting", None],
    tags=[["birds", "nature"], ["birds"], ["baking"], ["baking", "cake"], None],
    category=["nature", None, "food", "food", "food"],
    description=[None, "A quiet heron.", None, "Butter and flour.", None],
)


def test_a_supplied_embedding_wins_over_the_text_and_is_scaled_to_unit_length():
    frame = items(title=["a", "b"], embedding=[[3.0, 4.0], [0.0, -2.0]])
    embedder, vectors = embed_items(frame, "minilm", seed=0)
    assert embedder.method == "supplied"
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0.0, -1.0]], rtol=1e-6)


def test_mixed_lengths_name_the_item():
    with pytest.raises(ValueError, match=r"'i1' has an embedding of length 3, the others have 2"):
        embed_items(items(embedding=[[1.0, 0.0], [1.0, 0.0, 0.0]]), "tfidf", seed=0)


def test_a_later_item_without_the_supplied_embedding_is_named():
    embedder, _ = embed_items(items(embedding=[[1.0, 0.0], [0.0, 1.0]]), "tfidf", seed=0)
    with pytest.raises(ValueError, match=r"'i0' has an embedding of length 0"):
        embed(embedder, items(embedding=pl.Series([None], dtype=pl.List(pl.Float64))))


def test_a_value_that_is_not_finite_names_its_item():
    with pytest.raises(ValueError, match=r"'i1' .* not a finite number"):
        embed_items(items(embedding=[[1.0, 0.0], [float("nan"), 0.0]]), "tfidf", seed=0)


def test_embeddings_of_some_items_only_are_ignored_with_a_word():
    lines = []
    frame = TEXTS.with_columns(embedding=pl.Series([[1.0, 0.0], None, None, None, None]))
    embedder, _ = embed_items(frame, "tfidf", 0, lines.append)
    assert embedder.method == "tfidf"
    assert any("1 of 5 items" in line for line in lines)


def test_tfidf_equals_scikit_learns_own_transform():
    embedder, vectors = embed_items(TEXTS, "tfidf", seed=3)
    curated = ["birds, nature", "birds", "baking, food", "baking, cake, food", "food"]
    prose = [
        "Owl at night",
        "Heron in the marsh. A quiet heron.",
        "Sourdough bread",
        "Cake with frosting. Butter and flour.",
    ]
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", stop_words="english")
    vectorizer.fit([*curated, *prose])
    svd = TruncatedSVD(embedder.dimensions, random_state=3).fit(vectorizer.transform([*curated, *prose]))

    def unit(matrix):
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)

    one, other = (unit(svd.transform(vectorizer.transform(texts))) for texts in (curated, prose))
    expected = CURATED_WEIGHT * one[:4] + (1 - CURATED_WEIGHT) * other
    expected = np.vstack([unit(expected), one[4]])
    # Cosines, not coordinates: singular vectors of equal singular values may be turned against one another.
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)


def test_later_items_land_in_the_same_space_whatever_comes_with_them():
    embedder, vectors = embed_items(TEXTS, "tfidf", seed=0)
    np.testing.assert_allclose(embed(embedder, TEXTS[1:3]), vectors[1:3], atol=1e-6)
    unknown = embed(embedder, items(title=["zzz"]))
    assert (unknown == 0).all()


def test_the_order_of_tags_means_nothing():
    embedder, vectors = embed_items(TEXTS, "tfidf", seed=0)
    turned = TEXTS.with_columns(pl.col("tags").list.reverse())
    np.testing.assert_array_equal(embed(embedder, turned), vectors)


def test_items_with_ids_for_tags_only_are_embedded_by_tfidf_even_where_minilm_is_chosen():
    embedder, vectors = embed_items(items(tags=[["7", "12"], ["7"], ["9"]]), "minilm", seed=0)
    assert embedder.method == "tfidf"
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.3
    assert abs(similarity[0, 2]) < 1e-5


def test_minilm_offline_puts_related_items_near_one_another(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    embedder, vectors = embed_items(TEXTS, "minilm", seed=0)
    assert (embedder.method, embedder.dimensions) == ("minilm", 384)
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > similarity[0, 2] + 0.2
    assert similarity[2, 3] > similarity[1, 3] + 0.2


def test_a_missing_model_package_names_setup_and_the_setting(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'make setup.*interests\.embedding = "tfidf"'):
        embed_items(TEXTS, "minilm", seed=0)


@pytest.mark.parametrize(
    ("frame", "message"),
    [(TEXTS.clear(), "no items"), (items(title=[None, ""]), "nothing says what it is about")],
)
def test_nothing_to_embed(frame, message):
    with pytest.raises(ValueError, match=message):
        embed_items(frame, "tfidf", seed=0)
