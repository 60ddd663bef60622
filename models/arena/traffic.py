"""The logs of one simulated day: what the world writes to its landing files, without the truth."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from models.arena.responses import Responses
from models.arena.shelf import Offer
from models.arrays import IntArray

UTC = pl.Datetime("us", "UTC")
_RESPONSE_SCHEMA = {
    "watch_s": pl.Float64(),
    "completed": pl.Boolean(),
    "liked": pl.Boolean(),
    "shared": pl.Boolean(),
    "skipped": pl.Boolean(),
}
_PLAN_SCHEMA = {
    "history": pl.List(pl.Int32),
    "cluster_id": pl.Int32(),
    "policy": pl.String(),
    "table_version": pl.String(),
    "taxonomy_version": pl.String(),
    "position": pl.Int32(),
    "propensity": pl.Float64(),
}
EVENT_SCHEMA = pl.Schema({"user_id": pl.String(), "item_id": pl.String(), "ts": UTC, **_RESPONSE_SCHEMA})
FEEDBACK_SCHEMA = pl.Schema(
    {"request_id": pl.String(), "item_id": pl.String(), "user_id": pl.String(), "ts": UTC, **_PLAN_SCHEMA}
)
OUTCOME_SCHEMA = pl.Schema({"request_id": pl.String(), "item_id": pl.String(), "ts": UTC, **_RESPONSE_SCHEMA})


@dataclass(frozen=True, eq=False)
class Traffic:
    """What one day adds to the landing zone, in the columns of the data contract."""

    items: pl.DataFrame
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
        self, users: IntArray, ts: IntArray, outcome_ts: IntArray, responses: Responses, offer: Offer
    ) -> None:
        """Log exploration impressions (served at ``ts``) and what happened at ``outcome_ts``; ms since the epoch."""
        columns = {
            "user": users,
            "item": offer.items,
            "ts": ts,
            "outcome_ts": outcome_ts,
            "started": responses.started,
            **_response_columns(responses),
            "position": offer.positions,
            **offer.columns,
        }
        self.impressions.append(pl.DataFrame(columns, schema_overrides=_PLAN_SCHEMA))

    def traffic(self, day: str, items: pl.DataFrame) -> Traffic:
        """The frames of the day, in order of time; request ids begin with ``day``."""
        events = pl.DataFrame(schema=EVENT_SCHEMA)
        if self.plays:
            plays = self._named(pl.concat(self.plays).sort("ts", "user"))
            events = plays.with_columns(_utc("ts")).select(*EVENT_SCHEMA)
        if not self.impressions:
            return Traffic(items, events, pl.DataFrame(schema=FEEDBACK_SCHEMA), pl.DataFrame(schema=OUTCOME_SCHEMA))
        logged = self._named(pl.concat(self.impressions).sort("ts", "user", "position")).with_row_index("number")
        logged = logged.with_columns(
            pl.concat_str(pl.lit(f"{day}-"), pl.col("number").cast(pl.String).str.zfill(7)).alias("request_id")
        )
        outcomes = logged.filter("started").drop("ts").rename({"outcome_ts": "ts"}).sort("ts", "request_id")
        return Traffic(
            items,
            events,
            logged.with_columns(_utc("ts")).select(*FEEDBACK_SCHEMA),
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


def id_numbers(ids: pl.Series) -> IntArray:
    """[ids] the numbers in ids such as ``u0000012`` or ``i0000012``: places among the users or items of the world."""
    return ids.str.slice(1).cast(pl.Int64).to_numpy()
