import json
import os
import subprocess
import sys

import polars as pl
import pytest

from models.serving.transition_table import (
    TABLE_FILE,
    TransitionTable,
    TransitionTableError,
    current_version,
    make_current,
    publish,
    verify,
)

LABELS = ["wildlife, nature", "cooking, recipes", "chess, openings", "jazz, piano", "baking, bread"]
MANIFEST = {"made_at": "2026-01-01T00:00:00+00:00", "replaces": None, "ranking": "alignment", "history_clusters": 2}


def rows(score=0.8):
    return pl.DataFrame(
        {
            "history": [[0, 1], [0, 1], [0, 2], [0, 2]],
            "rank": [1, 2, 1, 2],
            "cluster_id": [3, 2, 1, 4],
            "alignment_score": [score, 0.5, 0.6, 0.4],
            "novelty_probability": [0.1, 0.2, 0.3, 0.4],
            "propensity": [0.5] * 4,
        },
        schema_overrides={"history": pl.List(pl.Int32), "rank": pl.Int32, "cluster_id": pl.Int32},
    )


def clusters():
    return pl.DataFrame(
        {"cluster_id": range(5), "label": LABELS, "readable": [True] * 5}, schema_overrides={"cluster_id": pl.Int32}
    )


def test_published_rows_are_found_by_id_label_and_part_of_a_label_in_any_order(tmp_path):
    version = publish(tmp_path, rows(), clusters(), MANIFEST)
    table = TransitionTable.open(tmp_path)
    assert table.version == version == current_version(tmp_path)
    assert table.k == 2
    expected = table.lookup([0, 1])
    assert [(row.rank, row.cluster_id, row.label, row.alignment_score) for row in expected] == [
        (1, 3, "jazz, piano", 0.8),
        (2, 2, "chess, openings", 0.5),
    ]
    assert table.lookup(["1", "0"]) == expected
    assert table.lookup(["Wildlife, Nature", "recipes"]) == expected


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([0, 0], "named twice"),
        (["chess", "jazz"], r"chess, openings \+ jazz, piano is not planned: this table has the 2 histories"),
        ([0, "wildlife"], "named twice"),
        ([0, 9], "no cluster 9: ids run from 0 to 4"),
        ([0, "opera"], "no cluster is labelled 'opera'"),
        ([0, "ing"], "several labels"),
        ([0], "histories of 2 clusters, 1 were named"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(tmp_path, history, message):
    publish(tmp_path, rows(), clusters(), MANIFEST)
    with pytest.raises(TransitionTableError, match=message):
        TransitionTable.open(tmp_path).lookup(history)


def test_same_content_same_version_and_time_is_no_content(tmp_path):
    first = publish(tmp_path, rows(), clusters(), MANIFEST)
    before = (tmp_path / first / TABLE_FILE).stat().st_mtime_ns
    again = publish(tmp_path, rows(), clusters(), MANIFEST | {"made_at": "later", "replaces": first})
    assert again == first
    assert (tmp_path / first / TABLE_FILE).stat().st_mtime_ns == before
    assert publish(tmp_path, rows(0.9), clusters(), MANIFEST) != first
    assert publish(tmp_path, rows(), clusters(), MANIFEST | {"ranking": "novelty"}) != first


def test_rollback_points_back(tmp_path):
    first = publish(tmp_path, rows(), clusters(), MANIFEST)
    second = publish(tmp_path, rows(0.9), clusters(), MANIFEST)
    assert current_version(tmp_path) == second
    make_current(tmp_path, first)
    assert TransitionTable.open(tmp_path).version == first
    assert TransitionTable.open(tmp_path, second).version == second


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cluster_id": 9}, "does not have"),
        ({"cluster_id": 0}, "of the history itself"),
        ({"cluster_id": 2}, "twice for one history"),
    ],
)
def test_a_broken_table_is_never_published(tmp_path, change, message):
    good = publish(tmp_path, rows(), clusters(), MANIFEST)
    broken = rows().with_columns(
        pl.when(pl.int_range(pl.len()) == 0)
        .then(pl.lit(change["cluster_id"]))
        .otherwise("cluster_id")
        .alias("cluster_id")
    )
    with pytest.raises(TransitionTableError, match=message):
        publish(tmp_path, broken, clusters(), MANIFEST)
    assert TransitionTable.open(tmp_path).version == good


def test_changed_missing_and_newer_files_are_refused_by_name(tmp_path):
    with pytest.raises(TransitionTableError, match="nothing is published yet"):
        TransitionTable.open(tmp_path)
    version = publish(tmp_path, rows(), clusters(), MANIFEST)
    manifest = tmp_path / version / "manifest.json"
    whole = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**whole, "format_version": 99}))
    with pytest.raises(TransitionTableError, match=r"manifest.json has format 99"):
        verify(tmp_path / version)
    manifest.write_text(json.dumps(whole))
    table = tmp_path / version / TABLE_FILE
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(TransitionTableError, match=r"transition_table\.parquet is missing or was changed"):
        TransitionTable.open(tmp_path)
    table.unlink()
    with pytest.raises(TransitionTableError, match="missing"):
        TransitionTable.open(tmp_path)


def test_a_kill_while_publishing_leaves_the_old_version_current(tmp_path):
    first = publish(tmp_path, rows(), clusters(), MANIFEST)
    script = """
import os, pathlib, signal, sys
import polars as pl
from models.serving import transition_table as t
t.make_current = lambda published, version: os.kill(os.getpid(), signal.SIGKILL)
folder = pathlib.Path(sys.argv[1])
old = t.TransitionTable.open(folder)
t.publish(folder, old.rows.with_columns(alignment_score=pl.lit(0.1)), old.clusters, {"made_at": "", "replaces": None})
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=os.environ, check=False)
    assert killed.returncode == -9
    assert TransitionTable.open(tmp_path).version == first
    second = publish(tmp_path, rows(0.9), clusters(), MANIFEST)
    assert current_version(tmp_path) == second


@pytest.mark.parametrize("spelling", ["{}/", "./{}", "{}/.", "../published/{}", " {}", "{} ", "{}\n", "", "CURRENT"])
def test_a_version_is_a_name_and_never_a_path(tmp_path, spelling, comes_out):
    version = publish(tmp_path, rows(), clusters(), MANIFEST)
    given = spelling.format(version)
    with pytest.raises(ValueError, match=r"is no name|is missing"):
        make_current(tmp_path, given)
    with pytest.raises(ValueError, match=r"is no name|is missing"):
        TransitionTable.open(tmp_path, given)
    assert (tmp_path / "CURRENT").read_text() == f"{version}\n"
    comes_out("names", f"rollback {spelling.format('VERSION')!r}", "refused; CURRENT stays as it was")


@pytest.mark.parametrize("written", ["{}/\n", "../{}\n", "", "\n", ".\n", "a b\n"])
def test_a_current_file_that_names_no_version_is_damaged(tmp_path, written, comes_out):
    version = publish(tmp_path, rows(), clusters(), MANIFEST)
    (tmp_path / "CURRENT").write_text(written.format(version))
    with pytest.raises(TransitionTableError, match=r"CURRENT is damaged.*alignrec rollback VERSION"):
        current_version(tmp_path)
    comes_out(
        "names", f"the file CURRENT holds {written.format('VERSION')!r}", "it is damaged: `alignrec rollback` mends it"
    )


def test_an_unknown_version_is_answered_by_those_that_are_there(tmp_path):
    version = publish(tmp_path, rows(), clusters(), MANIFEST)
    with pytest.raises(TransitionTableError, match=f"roll back to another version of .*: {version}"):
        make_current(tmp_path, "0123")


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("wildlive", "0 (wildlife, nature)"),
        ("cookin recipe", "1 (cooking, recipes)"),
        ("CHES", "2 (chess, openings)"),
        ("breat", "4 (baking, bread)"),
    ],
)
def test_a_misspelt_label_is_answered_by_the_nearest(tmp_path, asked, nearest):
    publish(tmp_path, rows(), clusters(), MANIFEST)
    table = TransitionTable.open(tmp_path)
    if asked.lower() in "".join(LABELS):
        assert table.cluster_id(asked) == 2
        return
    with pytest.raises(TransitionTableError) as caught:
        table.cluster_id(asked)
    assert f"The nearest labels: {nearest}" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_text_like_no_label_is_told_so(tmp_path):
    publish(tmp_path, rows(), clusters(), MANIFEST)
    with pytest.raises(TransitionTableError, match="none is near"):
        TransitionTable.open(tmp_path).cluster_id("qqqqqqqqq")
