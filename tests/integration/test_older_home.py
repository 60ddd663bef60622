"""A home that an older alignrec made is used as it is: nothing is asked of the user, and what changed is made again."""

import json
import re
from datetime import timedelta

import polars as pl
import pytest
from support.line import DAYS, command
from support.older_home import unpack

from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.rows import table_frame
from models.serving.transition_table import TransitionTable

SAME = ("raw.events", "raw.feedback_logs", "interests.item_clusters", "interests.first_interactions",
        "training.novel_transitions")  # fmt: skip
"""Feedback is defined anew since: exposures carry whether they were novel, and count when their window has closed."""
FEW = {"ALIGNREC_CANDIDATES__K": "2"}  # impressions are final: histories with 2k = 6 clusters are rare


def rows_of(home):
    with Warehouse(home).reading() as connection:
        return {name: sorted(map(repr, table_frame(connection, name).iter_rows())) for name in SAME}


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """The home, what it held, and what a run of the line said."""
    home = unpack(tmp_path_factory.mktemp("older") / "home")
    before = {"rows": rows_of(home), "table": TransitionTable.open(home.published)}
    looked_up = command(home.path, "alignrec", "lookup", "0", "1").stdout
    told = command(home.path, "alignrec", "run", **FEW).stdout
    return home, before, looked_up, told


def test_its_published_table_is_looked_up_at_once(older):
    _, before, looked_up, _ = older
    assert before["table"].version in looked_up


def test_its_days_are_made_again_and_hold_the_same_rows(older):
    home, before, _, told = older
    assert rows_of(home) == before["rows"]
    assert f"rows in {DAYS} days  [" in next(line for line in told.splitlines() if "raw/events" in line)


def test_its_taxonomy_stands_and_its_models_are_trained_anew(older):
    home, _, _, told = older
    assert "skipped: taxonomy 47eb4dbb82f1 stands" in told
    assert len(list((home.checkpoints / "taxonomy").glob("[!.]*/manifest.json"))) == 1
    for model in ("base_model", "novelty_model", "alignment_model", "pools", "scored"):
        manifests = [json.loads(path.read_text()) for path in (home.checkpoints / model).glob("[!.]*/manifest.json")]
        codes = {manifest["made_from"]["code"] for manifest in manifests}
        assert len(codes) == 2, model  # the older checkpoint stays beside the new one


def test_a_second_run_makes_nothing(older):
    home, *_ = older
    told = command(home.path, "alignrec", "run", **FEW).stdout
    assert f"skipped {DAYS} unchanged" in told
    assert "novelty_model" in told
    assert told.count("its inputs, settings and code are unchanged") >= 4


def test_its_older_versions_can_be_made_current(older):
    home, before, _, _ = older
    command(home.path, "alignrec", "rollback", before["table"].version)
    assert TransitionTable.open(home.published).rows.equals(before["table"].rows)


@pytest.mark.full
def test_late_rows_make_their_days_again_and_train_no_novelty_model(older):
    home, *_ = older
    models = {path.name for path in home.checkpoints.glob("novelty_model/*")}
    landed = sorted((home.landing / "events").glob("*/*.parquet"))[-1]
    late = (
        pl.read_parquet(landed)
        .head(60)
        .with_columns(pl.col("item_id").reverse(), pl.col("ts") + timedelta(seconds=1), positive=pl.lit(True))
    )
    late.write_parquet(landed.with_name("late.parquet"))
    told = command(home.path, "alignrec", "run", ALIGNREC_NOVELTY__NEW_TRANSITIONS_SHARE="1").stdout
    (line,) = [line for line in told.splitlines() if "training/novelty_examples" in line]
    assert re.search(r"kept: \d+ novel transitions up to .*, \d+ when the examples were chosen", line)
    assert re.search(r"  raw/events .* skipped \d+ unchanged", told)
    assert {path.name for path in home.checkpoints.glob("novelty_model/*")} == models
    told = command(home.path, "alignrec", "run", ALIGNREC_NOVELTY__NEW_TRANSITIONS_SHARE="0").stdout
    assert "kept:" not in told
    assert {path.name for path in home.checkpoints.glob("novelty_model/*")} > models
