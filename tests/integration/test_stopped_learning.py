"""Learning that comes to nothing is told before time is spent on it, on a small home whose models are made anew."""

import re

import polars as pl
import pytest
from support.line import command, write_random_feedback
from support.older_home import unpack

from models.serving.transition_table import TransitionTable


@pytest.fixture
def home(tmp_path):
    return unpack(tmp_path / "home")


def alignment_models(home):
    return {path.name for path in home.checkpoints.glob("alignment_model/*")}


def test_a_gate_that_fails_is_told_with_figure_limit_and_fix_and_nothing_behind_it_is_trained(home, comes_out):
    models, table = alignment_models(home), TransitionTable.open(home.published).version
    limit = {"ALIGNREC_PUBLICATION__FORMAT_VALIDITY_LIMIT": "1", "ALIGNREC_NOVELTY__HEAD": "words"}
    done = command(home.path, "alignrec", "run", check=False, **limit)
    assert done.returncode == 1
    told = done.stderr.strip().splitlines()[-1]
    for part in ("novelty_model", "format validity 0.", "publication.format_validity_limit = 1", "novelty.epochs"):
        assert part in told
    assert "  novelty_model " in done.stdout
    assert "  alignment_model " not in done.stdout
    assert "publication\n" not in done.stdout
    assert alignment_models(home) == models
    assert TransitionTable.open(home.published).version == table
    comes_out("gates", "a novelty model under `publication.format_validity_limit`", told)


@pytest.mark.full
def test_feedback_too_thin_to_align_is_counted_before_training_and_the_table_is_planned_by_novelty_alone(home):
    models, table = alignment_models(home), TransitionTable.open(home.published).version
    told = command(home.path, "alignrec", "run", ALIGNREC_ALIGNMENT__MINIMUM_HISTORIES="1000").stdout
    (line,) = [line for line in told.splitlines() if line.startswith("  alignment_model ")]
    assert re.search(r"no alignment model: \d+ of 28 histories have feedback on 6 clusters or more", line)
    assert "alignment.minimum_histories asks for 1,000; the table is planned by novelty alone" in line
    assert alignment_models(home) == models
    published = TransitionTable.open(home.published)
    assert published.version != table
    assert published.manifest["ranking"] == "novelty"


@pytest.mark.full
def test_labels_of_one_level_stop_the_learning_before_a_training_and_the_table_stays(copied_home):
    models, table = alignment_models(copied_home), TransitionTable.open(copied_home.published).version
    for file in copied_home.landing.glob("feedback/*/*.parquet"):
        logged = pl.read_parquet(file, hive_partitioning=False)
        logged.with_columns(liked=pl.int_range(pl.len()) % 100 == 0).write_parquet(file)
    sparse = {"SIGNAL": "liked", "NORMALISATION": "rate", "INTERVAL": "0.5"}
    settings = {f"ALIGNREC_FEEDBACK__{name}": value for name, value in sparse.items()}
    done = command(copied_home.path, "alignrec", "run", check=False, **settings)
    assert done.returncode == 1
    told = done.stderr.strip().splitlines()[-1]
    assert "by feedback.normalisation = 'rate' and feedback.interval = 0.5 all " in told
    assert "cells have the same label, 0: there is nothing to align with, and the published table stays. Set " in told
    assert alignment_models(copied_home) == models
    assert TransitionTable.open(copied_home.published).version == table


def test_a_little_new_feedback_trains_nothing(copied_home):
    models = alignment_models(copied_home)
    write_random_feedback(copied_home, impressions=300, seed=6, file="few")
    told = command(copied_home.path, "alignrec", "run").stdout
    assert re.search(
        r"training/pointwise_examples +kept: the feedback up to 2026-01-08 holds less than 10% new impressions "
        r"\(automation\.new_feedback_share\) and no drift above 0\.05 \(automation\.drift_limit\)",
        told,
    )
    assert alignment_models(copied_home) == models
