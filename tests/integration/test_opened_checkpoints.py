"""How often a step reads a checkpoint through: its files are hashed once, however many of its functions need it."""

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from support.state import FOLDERS

from alignrec_assets.definitions import build_definitions
from alignrec_assets.home import Home
from alignrec_assets.refresh.asset_factory import asset_key
from alignrec_assets.settings.sources import update_settings_file

OPENS = {
    "interests.clusters": {"taxonomy"},
    "base_model": {"base_model"},
    "novelty_model": {"novelty_model"},
    "alignment_model": {"alignment_model"},
    "candidates.pools": {"pools"},
    "candidates.scored": {"scored", "alignment_model"},
    "publication.transition_table": {"novelty_model", "alignment_model"},
    "inference_scaling": {"novelty_model", "alignment_model"},
    "alignment_search": {"base_model", "alignment_search"},
}
"""The checkpoints that each step opens where its own stands already."""
READ_TO_MAKE = {
    "novelty_model": {"base_model"},
    "alignment_model": {"base_model"},
    "candidates.pools": {"novelty_model"},
}
"""Those that it opens beside its own where it makes that."""


@pytest.fixture(scope="module")
def home(line_home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("opened") / "home"
    shutil.copytree(line_home.path, folder, symlinks=True)
    update_settings_file(Home(folder), {"search": {"trials": 1}})
    return Home(folder)


@pytest.fixture
def hashed(home, monkeypatch):
    """Run the step of an asset; returns how often each file of each checkpoint was hashed, by kind of checkpoint."""
    plain = hashlib.file_digest

    def run(asset, **config):
        found = {}

        def file_digest(stream, *arguments):
            path = Path(stream.name)
            if home.checkpoints in path.parents:
                kind, _, *rest = path.relative_to(home.checkpoints).parts
                found.setdefault(kind, Counter())["/".join(rest)] += 1
            return plain(stream, *arguments)

        built = build_definitions(home)  # the checks are left out: each is a step of its own
        alone = dg.Definitions(assets=built.assets, resources=built.resources, executor=dg.in_process_executor)
        job, ops = alone.resolve_implicit_global_asset_job_def(), {"interests__clusters": {"config": config}}
        with monkeypatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
            patch.setattr(hashlib, "file_digest", file_digest)
            done = job.execute_in_process(
                {"ops": ops} if config else None, instance=instance, asset_selection=[asset_key(asset)]
            )
        assert done.success
        return found

    return run


@pytest.mark.parametrize("asset", OPENS)
def test_a_step_whose_checkpoint_stands_reads_each_through_once(hashed, asset):
    found = hashed(asset)
    assert found.keys() == OPENS[asset]
    assert {times for counted in found.values() for times in counted.values()} == {1}


@pytest.mark.parametrize("asset", READ_TO_MAKE)
def test_a_step_that_makes_its_checkpoint_reads_each_through_once(home, hashed, asset):
    shutil.rmtree(home.checkpoints / FOLDERS[asset])
    found = hashed(asset)
    assert found.keys() == READ_TO_MAKE[asset] | {FOLDERS[asset]}
    assert {times for counted in found.values() for times in counted.values()} == {1}


def test_a_taxonomy_that_is_fitted_again_is_read_through_once(hashed):
    found = hashed("interests.clusters", recluster=True)
    assert found.keys() == {"taxonomy"}
    assert set(found["taxonomy"].values()) == {1}
