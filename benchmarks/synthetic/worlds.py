"""Simulated worlds with random exposures as feedback, to learn from."""

import datetime as dt
from typing import NamedTuple

from synthetic.processes import use_home

FIRST_DAY = dt.date(2026, 1, 5)
UNSEEN_SHARE = 0.25


class Taught(NamedTuple):
    """What the alignment model of a home is made from: examples of raw rates, labels, base model, settings."""

    examples: object
    labels: list
    base: object
    settings: object


def run_days(folder, seed, users, days):
    """The home of a world of 24 topics whose days have run; a quarter of the clusters is kept from training."""
    from alignrec_assets.commands.run import run_line
    from alignrec_assets.commands.simulate import Simulation
    from alignrec_assets.settings.sources import update_settings_file
    from models.arena.world import World, WorldOptions

    home = use_home(folder)
    home.create()
    options = WorldOptions(FIRST_DAY, users=users, random_shelf=3, seed=seed)
    Simulation(home, options, days, days).write_quiet_days(World(options), lambda _: None)
    last = FIRST_DAY + dt.timedelta(days=days - 1)
    update_settings_file(
        home,
        {
            "calendar": {"first_day": FIRST_DAY, "last_day": last},
            "feedback": {"source": "random"},
            "alignment": {"unseen_cluster_share": UNSEEN_SHARE},
        },
    )
    run_line(home, None, None, print, selections=("days",))
    return home


def examples_of(home):
    """The examples of the days that have run, without a training."""
    import dagster as dg

    from alignrec_assets.definitions import build_definitions
    from alignrec_assets.instance.dagster_home import open_instance
    from alignrec_assets.refresh.checkpoints import required_checkpoint
    from alignrec_assets.refresh.taxonomies import cluster_labels
    from alignrec_assets.settings.sources import load_settings
    from alignrec_assets.warehouse.connection import Warehouse
    from alignrec_assets.warehouse.rows import table_frame
    from models.alignment.examples import with_raw_rates
    from models.files import MODEL_FOLDER

    wanted = [dg.AssetKey(["base_model"]), dg.AssetKey(["training", "pointwise_examples"])]
    with open_instance(home) as instance:
        build_definitions(home).resolve_job_def("study").execute_in_process(instance=instance, asset_selection=wanted)
    warehouse = Warehouse(home)
    with warehouse.reading() as connection:
        examples = with_raw_rates(table_frame(connection, "training.pointwise_examples"))
    base = required_checkpoint(warehouse, "base_model").folder / MODEL_FOLDER
    return Taught(examples, cluster_labels(warehouse), base, load_settings(home))
