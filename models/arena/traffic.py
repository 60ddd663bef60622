"""The logs of one simulated day: what the platform writes to its landing files, and nothing of the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from models.arena.responses import Responses

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
UTC = pl.Datetime("us", "UTC")
_RESPONSE_SCHEMA = {
    "watch_s": pl.Float64(),
    "completed": pl.Boolean(),
    "liked": pl.Boolean(),
    "shared": pl.Boolean(),
    "skipped": pl.Boolean(),
}
EVENT_SCHEMA = pl.Schema({"user_id": pl.String(), "item_id": pl.String(), "ts": UTC, **_RESPONSE_SCHEMA})
FEEDBACK_SCHEMA = pl.Schema(
    {
        "request_id": pl.String(),
        "item_id": pl.String(),
        "user_id": pl.String(),
        "ts": UTC,
        "history": pl.List(pl.Int32()),
        "cluster_id": pl.Int32(),
        "policy": pl.String(),
        "table_version": pl.String(),
        "taxonomy_version": pl.String(),
        "position": pl.Int32(),
        "propensity": pl.Float64(),
    }
)
OUTCOME_SCHEMA = pl.Schema({"request_id": pl.String(), "item_id": pl.String(), "ts": UTC, **_RESPONSE_SCHEMA})


class ExplorationPolicy(Protocol):
    """What the exploration slot of the platform asks: which cluster to show to users of given histories."""

    @property
    def item_clusters(self) -> Mapping[str, int]:
        """Cluster of each item, in the pipeline's taxonomy."""

    @property
    def taxonomy_version(self) -> str:
        """Version of that taxonomy."""

    @property
    def table_version(self) -> str:
        """Version of the transition table that is served."""

    @property
    def K(self) -> int:  # noqa: N802 - the name of the definition
        """Length of a history."""

    def serve(self, histories: IntArray, rng: np.random.Generator) -> tuple[IntArray, FloatArray, Sequence[str]]:
        """Cluster, propensity and policy name for each request: [n], [n], [n].

        Args:
            histories: [n, K] cluster ids, each row distinct and sorted.
            rng: source of chance.
        """


@dataclass(frozen=True, eq=False)
class Traffic:
    """Events, exploration impressions and their outcomes in the columns of the data contract."""

    events: pl.DataFrame
    feedback: pl.DataFrame
    outcomes: pl.DataFrame


@dataclass
class Recorder:
    """Collects plays and exploration impressions of one day as arrays, and makes frames of them at its end."""

    user_ids: pl.Series
    item_ids: pl.Series
    plays: list[pl.DataFrame] = field(default_factory=list)
    impressions: list[pl.DataFrame] = field(default_factory=list)

    def add_plays(self, users: IntArray, items: IntArray, ts: IntArray, responses: Responses) -> None:
        """Log plays that were started; ``ts`` in milliseconds since the epoch."""
        columns = {"user": users, "item": items, "ts": ts, **_response_columns(responses)}
        self.plays.append(pl.DataFrame(columns).filter(pl.Series(responses.started)))

    def add_impressions(
        self,
        users: IntArray,
        items: IntArray,
        ts: IntArray,
        outcome_ts: IntArray,
        responses: Responses,
        served: dict[str, object],
    ) -> None:
        """Log exploration impressions (served at ``ts``) and what happened at ``outcome_ts``; ms since the epoch."""
        columns = {"user": users, "item": items, "ts": ts, "outcome_ts": outcome_ts, "started": responses.started}
        self.impressions.append(pl.DataFrame({**columns, **_response_columns(responses), **served}))

    def traffic(self, day: str, exploration: ExplorationPolicy | None) -> Traffic:
        """The frames of the day, in order of time; request ids begin with ``day``."""
        plays = self._named(pl.concat(self.plays).sort("ts", "user"))
        events = plays.with_columns(_utc("ts")).select(*EVENT_SCHEMA)
        if exploration is None or not self.impressions:
            return Traffic(events, pl.DataFrame(schema=FEEDBACK_SCHEMA), pl.DataFrame(schema=OUTCOME_SCHEMA))
        logged = self._named(pl.concat(self.impressions).sort("ts", "user", "position")).with_row_index("number")
        logged = logged.with_columns(
            pl.concat_str(pl.lit(f"{day}-"), pl.col("number").cast(pl.String).str.zfill(7)).alias("request_id"),
            pl.lit(exploration.table_version).alias("table_version"),
            pl.lit(exploration.taxonomy_version).alias("taxonomy_version"),
        )
        outcomes = logged.filter("started").drop("ts").rename({"outcome_ts": "ts"}).sort("ts", "request_id")
        return Traffic(
            events,
            logged.with_columns(_utc("ts")).select(*FEEDBACK_SCHEMA).cast(FEEDBACK_SCHEMA),
            outcomes.with_columns(_utc("ts")).select(*OUTCOME_SCHEMA),
        )

    def _named(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            self.user_ids.gather(frame["user"]).alias("user_id"), self.item_ids.gather(frame["item"]).alias("item_id")
        )


def _utc(name: str) -> pl.Expr:
    return (pl.col(name) * 1000).cast(UTC)


def _response_columns(responses: Responses) -> dict[str, npt.NDArray[np.generic]]:
    return {name: getattr(responses, name) for name in _RESPONSE_SCHEMA}
