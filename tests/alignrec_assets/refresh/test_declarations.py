"""Declarations: every name exists, what is derived follows them alone, and steps and queries agree with them."""

import ast
from dataclasses import fields
from datetime import date

import pytest
from sqlglot import exp, parse_one

from alignrec_assets.assets.feedback import transition_users_parameters
from alignrec_assets.assets.interests import first_interactions_parameters
from alignrec_assets.definitions import STEP_MODULES, build_definitions
from alignrec_assets.home import Home
from alignrec_assets.refresh.asset_factory import asset_key, marked_version, steps_of
from alignrec_assets.refresh.code_versions import queries_of, reached_by
from alignrec_assets.refresh.declarations import DECLARATIONS, DECLARED, Read, settings_of
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sources import update_settings_file
from alignrec_assets.warehouse.queries import query
from alignrec_assets.warehouse.tables import KEPT_PAST, TABLES

STEPS = {step.declared.name for step in steps_of(STEP_MODULES)}
OTHER = {
    "history.clusters": 3,
    "landing.attribution_hours": 12.0,
    "feedback.source": "replay",
    "feedback.replay_share": 0.31,
    "feedback.interval": 0.02,
    "candidates.k": 4,
    "positive.liked": False,
}
RAW_BOOKS = {"raw.landing_files", "raw.landing_days", "raw.pruned_items", "raw.forgotten_rows"}
"""What reading the landing zone notes beside the rows: no asset, and made in the same step."""
LANDED = {"raw.items", "raw.events", "raw.feedback_logs", "raw.rejected_rows"}
NOT_CONTENT = {"candidates": {"histories_per_shard", "unplanned_share"}, "novelty": {"new_transitions_share"}}
"""Settings that say how work is divided, or when a table is made anew."""
IN_TWO_SENSES = {"alignment_model", "novelty_model", "base_model", "alignment_search"}
"""Names of assets that are folders, columns and titles too; what reads these checkpoints is checked at run time."""


def changed(name, value):
    section, _, key = name.partition(".")
    part = getattr(Settings(), section).model_copy(update={key: value})
    return Settings().model_copy(update={section: part})


def test_every_asset_is_declared_and_made_once():
    assert len(DECLARED) == len(DECLARATIONS)
    assert DECLARED.keys() == STEPS


@pytest.mark.parametrize("declared", DECLARATIONS, ids=lambda declared: declared.name)
def test_every_name_that_a_declaration_uses_exists(declared):
    assert list(settings_of(declared.name, Settings())) == list(declared.settings)
    reads = {read.asset for read in declared.reads}
    assert reads | {*declared.gates} <= DECLARED.keys()
    assert {*declared.follows} <= reads
    assert all(DECLARED[read.asset].daily == (read.reach != "whole") for read in declared.reads)
    assert bool(declared.description) != (declared.name in TABLES)


def test_every_setting_of_the_line_counts_for_some_asset():
    named = {name for declared in DECLARATIONS for name in declared.settings}
    for section in ("alignment", "novelty", "feedback", "candidates"):
        unnamed = {key for key in getattr(Settings(), section).model_dump() if f"{section}.{key}" not in named}
        assert unnamed == NOT_CONTENT.get(section, set()), section


def test_what_trains_the_alignment_model_counts_for_it_and_what_makes_its_examples_does_not():
    from models.alignment.options import AlignmentOptions

    options = {f"alignment.{field.name}" for field in fields(AlignmentOptions)}
    settings = {f"alignment.{name}" for name in Settings().alignment.model_dump()}
    named = {name for name in DECLARED["alignment_model"].settings if name.startswith("alignment.")}
    assert named == options & settings | {"alignment.minimum_histories"}


@pytest.mark.parametrize("name", OTHER)
def test_a_value_counts_for_the_assets_that_name_it_or_its_section(name):
    other = changed(name, OTHER[name])
    moved = {asset for asset in DECLARED if settings_of(asset, other) != settings_of(asset, Settings())}
    section = name.partition(".")[0]
    assert moved == {each.name for each in DECLARATIONS if name in each.settings or section in each.settings}
    assert moved == {
        each.name for each in DECLARATIONS if marked_version(each, other) != marked_version(each, Settings())
    }
    assert moved


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize(
    ("asset", "parameters"),
    [
        ("interests.first_interactions", first_interactions_parameters),
        ("feedback.transition_users", transition_users_parameters),
    ],
)
def test_queries_get_what_their_assets_name(asset, parameters, name):
    before, after = parameters(Settings(), "a"), parameters(changed(name, OTHER[name]), "a")
    assert (after != before) == (name in DECLARED[asset].settings)


def test_reads_reach_as_far_as_they_say():
    third, fourth, fifth = (date(2026, 1, day) for day in (3, 4, 5))
    reaches = {
        "day": [fourth],
        "past": [third, fourth],
        "window": [third, fourth],
    }
    for reach, covered in reaches.items():
        read = Read("raw.events", reach, lambda _: 2)
        assert [day for day in (third, fourth, fifth) if read.covers(day, fourth, Settings())] == covered
    narrow = Read("raw.events", "window", lambda settings: settings.feedback.window_days)
    assert not narrow.covers(third, fourth, changed("feedback.window_days", 1))


def test_dagster_hears_of_what_is_declared(tmp_path):
    home = Home(tmp_path)
    update_settings_file(home, {"calendar": {"first_day": "2026-01-01", "last_day": "2026-01-09"}})
    update_settings_file(home, {"feedback": {"window_days": 3}})
    graph = build_definitions(home).resolve_asset_graph()
    for declared in DECLARATIONS:
        node = graph.get(asset_key(declared.name))
        assert node.parent_keys == {asset_key(name) for name in (*declared.gates, *(r.asset for r in declared.reads))}
        assert node.is_partitioned == declared.daily
    scores = graph.get(asset_key("feedback.transition_scores"))
    mapping = scores.partition_mappings[asset_key("feedback.transition_users")]
    assert mapping.start_offset == -2


def tables_read_by(sql):
    """The tables of the warehouse in a query, without its own common table expressions."""
    return {f"{table.db}.{table.name}" for table in parse_one(sql, dialect="duckdb").find_all(exp.Table) if table.db}


@pytest.mark.parametrize("declared", DECLARATIONS, ids=lambda declared: declared.name)
def test_queries_read_the_tables_that_are_declared(declared):
    read = set().union(*(tables_read_by(query(name)) for name in queries_of(declared.name))) & TABLES.keys()
    # The logs share the queries of the landing zone. Of raw.seen_items, and of the rejected rows that it writes itself,
    # each reads the rows of its own kind alone.
    shared = RAW_BOOKS | LANDED if declared.name in LANDED else {KEPT_PAST}
    assert read - {declared.name} - shared <= {each.asset for each in declared.reads}


@pytest.mark.parametrize("declared", DECLARATIONS, ids=lambda declared: declared.name)
def test_steps_name_the_assets_that_are_declared(declared):
    statements = reached_by(declared.name).statements.values()
    words = {node.value for each in statements for node in ast.walk(each) if isinstance(node, ast.Constant)}
    named = {word for word in words if isinstance(word, str)} & DECLARED.keys()
    others = {"raw.events", "raw.feedback_logs"} if declared.name in LANDED else set()
    assert named - {declared.name} - others <= {each.asset for each in declared.reads} | IN_TWO_SENSES


def test_a_table_that_is_read_without_being_declared_is_found():
    assert tables_read_by("WITH own AS (FROM raw.events) FROM own JOIN interests.clusters USING (a)") == {
        "raw.events",
        "interests.clusters",
    }
