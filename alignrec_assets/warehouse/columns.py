"""Descriptions of a column and of a table, and the columns that several tables share."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Column:
    """One column: its name, DuckDB type and meaning, whether it may be null, and the range of its values."""

    name: str
    type: str
    description: str
    null: bool = False
    least: float | None = None
    most: float | None = None

    @property
    def range(self) -> tuple[str, ...]:
        """The range as SQL conditions."""
        bounds = ((">=", self.least), ("<=", self.most))
        return tuple(f"{self.name} {sign} {bound:g}" for sign, bound in bounds if bound is not None)


@dataclass(frozen=True)
class Table:
    """One warehouse table.

    Attributes:
        name: with its schema.
        description: what a row is.
        columns: in order.
        key: columns whose values together are unique, in a daily table within a day; empty: rows may repeat.
        rules: further SQL conditions that every row obeys.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def schema(self) -> str:
        """The part of the name before the dot."""
        return self.name.split(".")[0]

    @property
    def daily(self) -> bool:
        """Whether its rows belong to days."""
        return self.columns[0] is DAY


def optional(*columns: Column) -> tuple[Column, ...]:
    """The columns, each of which may be null."""
    return tuple(replace(column, null=True) for column in columns)


DAY = Column("day", "DATE", "UTC day")
AS_OF = Column("as_of", "DATE", "last day of the log that was read")
TAXONOMY = Column("taxonomy_version", "VARCHAR", "taxonomy that the cluster ids belong to")
HISTORY = Column("history", "INTEGER[]", "S: the K clusters of the user's latest positive events, sorted by id")
CLUSTER = Column("cluster_id", "INTEGER", "interest cluster", least=0)
USER = Column("user_id", "VARCHAR", "user")
ITEM = Column("item_id", "VARCHAR", "item")
TIME = Column("ts", "TIMESTAMP", "moment in UTC")
POSITIVE = Column("positive", "BOOLEAN", "positive playback, given or derived by the rule in the settings")
OUTCOMES = optional(
    Column("watch_s", "DOUBLE", "seconds watched", least=0),
    Column("completed", "BOOLEAN", "played to the end"),
    Column("liked", "BOOLEAN", "liked"),
    Column("shared", "BOOLEAN", "shared"),
    Column("skipped", "BOOLEAN", "skipped"),
)
SPLIT = Column("split", "VARCHAR", "train, or the holdout that the row belongs to")
IMPRESSIONS = Column("impressions", "BIGINT", "impressions", least=1)
SIGNALS = (
    Column("positives", "BIGINT", "impressions with positive playback", least=0),
    Column("likes", "BIGINT", "impressions with a like", least=0),
    Column("shares", "BIGINT", "impressions with a share", least=0),
    Column("completions", "BIGINT", "impressions played to the end", least=0),
    Column("skips", "BIGINT", "impressions skipped", least=0),
)
USERS = Column("users", "BIGINT", "distinct users", least=1)
PROBABILITY = Column(
    "novelty_probability", "DOUBLE", "label probability of the novelty model at the sampling temperature", least=0
)
ALIGNMENT = Column(
    "alignment_score", "DOUBLE", "predicted score of the alignment model; null where none was trained yet", null=True
)
WITHIN_IMPRESSIONS = tuple(f"{signal.name} <= impressions" for signal in SIGNALS)
INTERVAL = "lower <= upper"
OUTSIDE_HISTORY = "NOT list_contains(history, cluster_id)"
NOVEL = Column("novel", "BOOLEAN", "true where the user had no interaction with the cluster before")
FINGERPRINT = Column("fingerprint", "VARCHAR", "hash of the inputs, settings and code that made it")
DRAW_ORDER = Column("draw_order", "INTEGER", "order of the first draw, from 1", least=0)
SHRUNK_RATE = Column("shrunk_rate", "DOUBLE", "posterior mean of the rate", least=0, most=1)
LOWER = Column("lower", "DOUBLE", "lower end of the 90% credible interval of the rate", least=0, most=1)
UPPER = Column("upper", "DOUBLE", "upper end of the 90% credible interval of the rate", least=0, most=1)
LANDED_FILE = Column("file", "VARCHAR", "landing file, relative to the landing folder")
LANDED_KIND = Column("kind", "VARCHAR", "items, events, feedback or outcomes")
LOG_KIND = Column("kind", "VARCHAR", "events or feedback")
MADE_AT = Column("made_at", "TIMESTAMP", "moment of making, UTC")
