"""Small simulated worlds: a policy that serves any cluster, days as frames, and the pipeline's rule of pleasure."""

import datetime as dt

import numpy as np
import polars as pl

from models.arena.world import World

FIRST_DAY = dt.date(2026, 1, 5)
FRAMES = ("items", "events", "feedback", "outcomes")


class RandomPolicy:
    """Serves any cluster outside the history with equal chance; clusters are topics taken together.

    It knows the items that are in the catalogue when it is made, but for the very first.
    """

    K = 2
    table_version = "table-1"
    taxonomy_version = "taxonomy-1"

    def __init__(self, world, clusters=12, shift=0):
        self.clusters = clusters
        ids = world.catalogue.item_ids.to_list()
        self.item_clusters = dict(zip(ids, ((world.catalogue.main_topics + shift) % clusters).tolist(), strict=True))
        del self.item_clusters[ids[0]]

    def serve(self, histories, known, rng):
        assert histories.shape[1] == self.K
        chance = rng.random((len(histories), self.clusters))
        np.put_along_axis(chance, histories, -1.0, axis=1)
        return chance.argmax(axis=1), np.full(len(histories), 1 / (self.clusters - self.K)), ["random"] * len(histories)


def simulate(options, days, policy_of=lambda world, number: None):
    """A world after ``days`` days, and the frames of all of them; ``policy_of`` gives each day's policy."""
    world = World(options)
    traffic = [world.simulate_day(world.next_day, policy_of(world, number)) for number in range(days)]
    return world, {name: pl.concat([getattr(day, name) for day in traffic]) for name in FRAMES}


def with_positive(plays, items):
    """Plays with ``duration_s`` and whether each was positive, as the pipeline would derive it."""
    rule = (pl.col("watch_s") >= 0.5 * pl.col("duration_s")) | pl.col("liked")
    joined = plays.join(items.select("item_id", "duration_s"), on="item_id", maintain_order="left")
    return joined.with_columns(positive=rule)


def numbers(ids):
    """The numbers in ids such as ``u0000012``."""
    return ids.str.slice(1).cast(pl.Int64).to_numpy()
