"""From a log to a published table by `alignrec ingest` and `alignrec run`, with no setting typed by hand.

The few settings that are typed here make the model small; none of them is one that depends on the data.
"""

import polars as pl
import pytest
from support.sources import SOURCES, interactions, write_source

from alignrec_assets.commands.ingest import ingest_source
from alignrec_assets.commands.run import RunFailedError, run_line
from alignrec_assets.home import Home
from alignrec_assets.instance.dagster_home import prepare_instance
from alignrec_assets.settings.chosen_values import fixed_settings
from alignrec_assets.settings.sources import update_settings_file
from models.serving.transition_table import TransitionTable

LAST_DAY = "2026-01-25"  # of the last week
FAST = (("landing with impressions", 500), ("landing", 500))
"""Random exposures and replay. The settings that each format gets are tested with `ingest`."""
SIZES = [
    pytest.param(kind, rows, marks=() if (kind, rows) in FAST else pytest.mark.full)
    for rows in (500, 5_000, 100_000)
    for kind in SOURCES
]


def new_home(folder, tiny_model_folder):
    """A home with a small model, and what makes it learn fast."""
    home = Home(folder)
    home.create()
    small = {
        "base_model": {"source": str(tiny_model_folder)},
        "interests": {"embedding": "tfidf"},
        "novelty": {"tune": "full", "learning_rate": 0.01},
        "alignment": {"epochs": 0.5, "tune": "full", "looks_per_epoch": 2, "layers": 1},
        "publication": {"format_validity_limit": 0.0},  # a tiny random model never learns to spell well
    }
    update_settings_file(home, small)
    prepare_instance(home)
    return home, {f"{section}.{name}" for section, values in small.items() for name in values}


def ingest_and_run(home, kind, frame, folder):
    """What a user types; returns the lines that both commands print."""
    lines = []
    ingest_source(home, *write_source(kind, folder, frame), None, lines.append)
    run_line(home, None, None, lines.append)
    return lines


@pytest.mark.parametrize(("kind", "rows"), SIZES)
def test_a_log_becomes_a_published_table(kind, rows, tmp_path, tiny_model_folder):
    home, typed = new_home(tmp_path / "home", tiny_model_folder)
    told = ingest_and_run(home, kind, interactions(rows), tmp_path / "source")
    assert fixed_settings(home) == typed
    table = TransitionTable.open(home.published)
    clusters = len(table.labels)
    assert table.rows["history"].n_unique() == clusters * (clusters - 1) // 2
    assert any("novel transitions up to" in line and "are examples" in line for line in told)
    # Either a contest decided what ranks, or one sentence says how much feedback there is and how much is needed.
    judged = "held-out histories" in table.manifest["ranking_reason"]
    assert judged or any("alignment.minimum_histories asks for" in line for line in told)
    assert judged or table.manifest["ranking"] == "novelty"


def test_a_log_whose_users_never_go_on_ends_in_one_sentence(tmp_path, tiny_model_folder, comes_out):
    home, _ = new_home(tmp_path / "home", tiny_model_folder)
    liked_early = interactions(500).with_columns(likes=pl.col("second") < pl.col("second").quantile(0.03))
    with pytest.raises(RunFailedError) as told:
        ingest_and_run(home, "movielens", liked_early, tmp_path / "source")
    assert str(told.value).startswith(
        f"training/novelty_examples: up to {LAST_DAY} there are 0 novel transitions of 0 users who are not replayed, "
        "and 2 such users are needed"
    )
    comes_out("thin logs", "500 ratings of which 3% are high, none of them after two others of a user", str(told.value))
