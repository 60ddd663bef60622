"""Settings by asset: every name exists, and fingerprints and code versions follow them alone."""

from dataclasses import fields

import dagster as dg
import pytest

from alignrec_assets.assets.feedback import transition_users_recipe
from alignrec_assets.assets.interests import first_interactions_recipe
from alignrec_assets.home import Home
from alignrec_assets.refresh.asset_settings import ASSET_SETTINGS, marked_by_settings, settings_of
from alignrec_assets.resources import HomeResource
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sources import update_settings_file

OTHER = {
    "history.clusters": 3,
    "landing.attribution_hours": 12.0,
    "feedback.source": "replay",
    "feedback.replay_share": 0.31,
    "feedback.interval": 0.02,
    "candidates.k": 4,
    "positive.liked": False,
}


def changed(name, value):
    section, _, key = name.partition(".")
    part = getattr(Settings(), section).model_copy(update={key: value})
    return Settings().model_copy(update={section: part})


def test_every_name_is_a_setting():
    for asset, names in ASSET_SETTINGS.items():
        assert list(settings_of(asset, Settings())) == list(names)


def test_every_setting_of_the_line_counts_for_some_asset():
    named = {name for names in ASSET_SETTINGS.values() for name in names}
    for section in ("alignment", "novelty", "feedback", "candidates"):
        unnamed = {key for key in getattr(Settings(), section).model_dump() if f"{section}.{key}" not in named}
        assert unnamed == ({"histories_per_shard"} if section == "candidates" else set()), section


def test_what_trains_the_alignment_model_counts_for_it_and_what_makes_its_examples_does_not():
    from models.alignment.options import AlignmentOptions

    options = {f"alignment.{field.name}" for field in fields(AlignmentOptions)}
    settings = {f"alignment.{name}" for name in Settings().alignment.model_dump()}
    named = {name for name in ASSET_SETTINGS["alignment_model"] if name.startswith("alignment.")}
    assert named == options & settings | {"alignment.minimum_histories"}


def test_what_has_no_settings_depends_on_none():
    assert settings_of("interests.user_cluster_days", Settings()) == {}


@pytest.mark.parametrize("name", OTHER)
def test_a_value_counts_for_the_assets_that_name_it_or_its_section(name):
    other = changed(name, OTHER[name])
    moved = {asset for asset in ASSET_SETTINGS if settings_of(asset, other) != settings_of(asset, Settings())}
    section = name.partition(".")[0]
    assert moved == {asset for asset, names in ASSET_SETTINGS.items() if name in names or section in names}
    assert moved


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("recipe_of", [first_interactions_recipe, transition_users_recipe])
def test_queries_get_what_their_assets_name(tmp_path, recipe_of, name):
    home = Home(tmp_path)
    home.create()
    (home.checkpoints / "taxonomy").mkdir(parents=True)
    (home.checkpoints / "taxonomy" / "CURRENT").write_text("a-taxonomy\n", encoding="utf-8")
    resource = HomeResource(database=str(home.warehouse))
    before = recipe_of(resource)
    section, _, key = name.partition(".")
    update_settings_file(home, {section: {key: OTHER[name]}})
    after = recipe_of(resource)
    seen = name in ASSET_SETTINGS[before.table]
    assert ((after.parameters, after.inputs) != (before.parameters, before.inputs)) == seen


def test_code_versions_tell_settings():
    @dg.asset(key=["candidates", "pools"], code_version="code")
    def pools():
        """Depends on settings."""

    @dg.asset(code_version="code")
    def plain():
        """Does not."""

    def versions(settings):
        marked = marked_by_settings([pools, plain, "no asset"], settings)
        return {each.key.to_user_string(): each.code_versions_by_key[each.key] for each in marked}

    before, after = versions(Settings()), versions(changed("candidates.k", 4))
    assert before["plain"] == after["plain"] == "code"
    assert before["candidates/pools"] != after["candidates/pools"]
    assert versions(changed("positive.liked", False)) == before
