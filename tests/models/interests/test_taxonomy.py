"""Taxonomies: repeatable versions, append-only assignment, files that are checked when read."""

import dataclasses
import datetime as dt
import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score

from models.arena.catalogue import Catalogue
from models.arena.topics import load_topics
from models.interests.taxonomy import assign_items, fit_taxonomy, load_taxonomy, save_taxonomy


@pytest.fixture(scope="module")
def catalogue():
    topics, _ = load_topics(24)
    return Catalogue(topics, 900, dt.date(2026, 1, 5), seed=0)


@pytest.fixture(scope="module")
def fitted(catalogue):
    return fit_taxonomy(catalogue.first_frame, 24, "tfidf", seed=0)


def test_clusters_recovered_from_text_agree_with_the_topics_without_being_identical(catalogue, fitted):
    _, assignment = fitted
    assert 0.5 < adjusted_rand_score(catalogue.main_topics, assignment["cluster_id"]) < 1


def test_sizes_and_labels_describe_the_assignment(fitted):
    taxonomy, assignment = fitted
    assert list(taxonomy.sizes) == np.bincount(assignment["cluster_id"], minlength=24).tolist()
    assert sum(taxonomy.sizes) == 900
    assert len(set(taxonomy.labels)) == 24
    assert all(taxonomy.readable)
    assert assignment["similarity"].is_between(0, 1.0001).all()
    assert assignment.schema == {"item_id": pl.String, "cluster_id": pl.Int32, "similarity": pl.Float32}


def test_fitting_again_gives_the_same_version_and_another_seed_another(catalogue, fitted):
    again, _ = fit_taxonomy(catalogue.first_frame, 24, "tfidf", seed=0)
    other, _ = fit_taxonomy(catalogue.first_frame, 24, "tfidf", seed=1)
    assert again.version == fitted[0].version
    assert other.version != again.version


def test_new_items_join_the_clusters_that_stand_and_move_nobody(catalogue, fitted):
    taxonomy, before = fitted
    new = pl.DataFrame(
        {"item_id": ["n1", "n2"], "title": ["Kiln and glaze", "Checkmate"], "tags": [["pottery"], ["chess"]]}
    )
    everything = pl.concat([catalogue.first_frame, new], how="diagonal")
    after = assign_items(taxonomy, everything)
    assert after[:900]["cluster_id"].to_list() == before["cluster_id"].to_list()
    names = [topic.name for topic in load_topics(24)[0]]
    for name, cluster in zip(("pottery", "strategy games"), assign_items(taxonomy, new)["cluster_id"], strict=True):
        of_topic = before.filter(pl.Series(catalogue.main_topics == names.index(name)))["cluster_id"]
        assert cluster == of_topic.mode()[0]


def test_a_taxonomy_reads_back_as_it_was(tmp_path, catalogue, fitted):
    taxonomy, assignment = fitted
    save_taxonomy(taxonomy, tmp_path / "taxonomy")
    loaded = load_taxonomy(tmp_path / "taxonomy")
    assert loaded.version == taxonomy.version
    assert (loaded.labels, loaded.settings, loaded.seed) == (taxonomy.labels, taxonomy.settings, taxonomy.seed)
    assert assign_items(loaded, catalogue.first_frame).equals(assignment)


def test_a_taxonomy_tells_how_well_its_labels_tell_clusters_apart(tmp_path, fitted):
    taxonomy = fitted[0]
    figures = taxonomy.label_figures
    assert figures["labels_pairs"] == 24 * 23 / 2
    assert figures["labels_nearest_share_by_chance"] == 1 / 24
    assert figures["labels_held_out_items"] == sum(size // 5 for size in taxonomy.sizes)
    assert min(figures["labels_nearest_share_by_meaning"], figures["labels_nearest_share_by_words"]) > 0.5
    save_taxonomy(taxonomy, tmp_path / "taxonomy")
    assert load_taxonomy(tmp_path / "taxonomy").label_figures == figures


def test_a_taxonomy_made_before_labels_were_measured_is_read_as_it_stands(tmp_path, fitted):
    save_taxonomy(fitted[0], tmp_path / "taxonomy")
    path = tmp_path / "taxonomy" / "taxonomy.json"
    content = json.loads(path.read_text())
    del content["label_figures"]
    path.write_text(json.dumps(content))
    loaded = load_taxonomy(tmp_path / "taxonomy")
    assert (loaded.version, loaded.labels, loaded.label_figures) == (fitted[0].version, fitted[0].labels, {})


def test_every_part_is_in_the_version(fitted):
    taxonomy = fitted[0]
    centroids = taxonomy.centroids.copy()
    centroids[3, 5] += 1e-4
    changes = [
        {"labels": ("other", *taxonomy.labels[1:])},
        {"readable": (False, *taxonomy.readable[1:])},
        {"centroids": centroids},
        {"embedder": dataclasses.replace(taxonomy.embedder, components=taxonomy.embedder.components * 2)},
        {"seed": 99},
        {"settings": {"clusters": 25}},
    ]
    versions = {dataclasses.replace(taxonomy, **change).version for change in changes}
    assert len(versions | {taxonomy.version}) == len(changes) + 1


def edit_label(folder):
    path = folder / "taxonomy.json"
    content = json.loads(path.read_text())
    content["labels"][0] = "changed"
    path.write_text(json.dumps(content))


def drop_part(folder):
    path = folder / "taxonomy.json"
    content = json.loads(path.read_text())
    del content["vocabulary"]
    path.write_text(json.dumps(content))


def truncate_arrays(folder):
    path = folder / "arrays.npz"
    path.write_bytes(path.read_bytes()[:5000])


def flip_byte(folder):
    path = folder / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [edit_label, drop_part, truncate_arrays, flip_byte])
def test_damage_is_found(tmp_path, fitted, damage):
    folder = tmp_path / "taxonomy"
    save_taxonomy(fitted[0], folder)
    damage(folder)
    with pytest.raises(ValueError, match="is damaged"):
        load_taxonomy(folder)


def test_a_newer_format_and_a_missing_folder_are_named(tmp_path, fitted):
    with pytest.raises(FileNotFoundError, match="no taxonomy in"):
        load_taxonomy(tmp_path / "nowhere")
    save_taxonomy(fitted[0], tmp_path / "taxonomy")
    path = tmp_path / "taxonomy" / "taxonomy.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    with pytest.raises(ValueError, match="format 99, newer than 1"):
        load_taxonomy(tmp_path / "taxonomy")


def test_fewer_items_than_clusters(catalogue):
    with pytest.raises(ValueError, match=r"10 items cannot form 24 clusters: lower the setting `interests\.clusters`"):
        fit_taxonomy(catalogue.first_frame[:10], 24, "tfidf", seed=0)
