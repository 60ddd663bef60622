"""Every warehouse table in one place: its columns, their types and what they mean, its key, and what its rows obey.

The DDL, the column schema shown in the Dagster UI, the contract that rows are held against before they are committed
(``contract``) and the documentation (``docs/tables.md``) all come from these descriptions. How a table is computed
stands elsewhere: in the file of ``sql/`` that bears its name, or in the asset that calls ``models``.
"""

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
        key: columns whose values together stand in one row only, in a daily table in one row of a day; none: rows may
            repeat.
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


def _optional(*columns: Column) -> tuple[Column, ...]:
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
OUTCOMES = _optional(
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
NOVEL = "NOT list_contains(history, cluster_id)"
FINGERPRINT = Column("fingerprint", "VARCHAR", "hash of the inputs, settings and code that made it")

_ALL = (
    Table(
        "raw.items",
        "The catalogue: the latest row of every item.",
        (
            ITEM,
            Column("title", "VARCHAR", "title", null=True),
            Column("description", "VARCHAR", "longer text", null=True),
            Column("tags", "VARCHAR[]", "tags", null=True),
            Column("category", "VARCHAR", "category", null=True),
            Column("duration_s", "DOUBLE", "playing time in seconds", null=True, least=0),
            Column("published_at", "TIMESTAMP", "published at, UTC", null=True),
            Column("updated_at", "TIMESTAMP", "last change, UTC; the latest wins", null=True),
            Column("embedding", "FLOAT[]", "embedding supplied by the platform", null=True),
        ),
        key=("item_id",),
    ),
    Table(
        "raw.events",
        "What users did anywhere on the platform, one row per user, item and moment.",
        (DAY, USER, ITEM, TIME, OUTCOMES[0], Column("rating", "DOUBLE", "rating", null=True), *OUTCOMES[1:], POSITIVE),
        key=("user_id", "item_id", "ts"),
    ),
    Table(
        "raw.feedback_logs",
        "Exploration impressions joined with what happened within the attribution window; silence is not positive.",
        (
            DAY,
            Column("request_id", "VARCHAR", "request that was served"),
            ITEM,
            USER,
            TIME,
            *_optional(HISTORY, CLUSTER),
            Column("policy", "VARCHAR", "who chose the cluster"),
            Column("table_version", "VARCHAR", "published version that planned it", null=True),
            *_optional(TAXONOMY),
            Column("position", "INTEGER", "place on the page, from 0", null=True, least=0),
            Column(
                "propensity",
                "DOUBLE",
                "probability with which the policy served this cluster",
                null=True,
                least=0,
                most=1,
            ),
            *OUTCOMES,
            POSITIVE,
            Column("final", "BOOLEAN", "true once the attribution window has closed within the data at hand"),
        ),
        key=("request_id", "item_id"),
    ),
    Table(
        "raw.rejected_rows",
        "Landing rows that break the contract, with the reason; a row number counts from 1, null means the whole file.",
        (
            Column("kind", "VARCHAR", "items, events, feedback or outcomes"),
            *_optional(DAY),
            Column("file", "VARCHAR", "landing file, relative to the landing folder"),
            Column("row_number", "BIGINT", "row in that file, from 1", null=True),
            Column("reason", "VARCHAR", "what is wrong, in which field"),
            Column("payload", "VARCHAR", "the row as JSON", null=True),
        ),
    ),
    Table(
        "raw.landing_files",
        "Landing files that have been read: which days their rows belong to.",
        (
            Column("kind", "VARCHAR", "items, events, feedback or outcomes"),
            Column("file", "VARCHAR", "file, relative to the landing folder"),
            Column("content_hash", "VARCHAR", "SHA-256 of its bytes"),
            Column("first_day", "DATE", "earliest day that its rows belong to", null=True),
            Column("last_day", "DATE", "latest day that its rows belong to", null=True),
            Column("rows", "BIGINT", "rows in it", least=0),
        ),
        key=("kind", "file"),
        rules=("first_day <= last_day",),
    ),
    Table(
        "raw.forgotten_rows",
        "Rows of forgotten users in landing files that arrived after `alignrec forget`: they are not read.",
        (
            Column("kind", "VARCHAR", "events or feedback"),
            Column("file", "VARCHAR", "landing file, relative to the landing folder"),
            Column("rows", "BIGINT", "rows in it that are not read"),
        ),
    ),
    Table(
        "raw.pruned_items",
        "Items of days whose raw rows `alignrec prune` took away: what such a day still asks of the catalogue.",
        (Column("kind", "VARCHAR", "events or feedback"), DAY, ITEM),
    ),
    Table(
        "interests.clusters",
        "The interest clusters of the standing taxonomy with their labels.",
        (
            TAXONOMY,
            CLUSTER,
            Column("label", "VARCHAR", "two to four keywords"),
            Column("readable", "BOOLEAN", "false where items carry nothing but tag ids"),
            Column("items", "BIGINT", "items when the taxonomy was made", least=0),
        ),
        key=("taxonomy_version", "cluster_id"),
    ),
    Table(
        "interests.item_clusters",
        "The cluster of every item; new items join the clusters that stand.",
        (TAXONOMY, ITEM, CLUSTER, Column("similarity", "DOUBLE", "cosine to the cluster's centroid")),
        key=("item_id",),
    ),
    Table(
        "interests.user_cluster_days",
        "First and last interaction and positive event of each user with each cluster on one day.",
        (
            DAY,
            TAXONOMY,
            USER,
            CLUSTER,
            Column("first_ts", "TIMESTAMP", "first interaction of the day"),
            Column("last_ts", "TIMESTAMP", "last interaction of the day"),
            Column("first_positive_ts", "TIMESTAMP", "first positive event of the day", null=True),
            Column("last_positive_ts", "TIMESTAMP", "last positive event of the day", null=True),
        ),
        key=("user_id", "cluster_id"),
        rules=("first_ts <= last_ts", "first_positive_ts <= last_positive_ts"),
    ),
    Table(
        "interests.first_interactions",
        "A user's first interaction ever with a cluster, positive or not, with the history S that stood before it.",
        (
            DAY,
            TAXONOMY,
            USER,
            HISTORY,
            CLUSTER,
            ITEM,
            TIME,
            *OUTCOMES,
            POSITIVE,
            Column("explored", "BOOLEAN", "true where an exploration impression led to it"),
        ),
        key=("user_id", "cluster_id"),
        rules=(NOVEL,),
    ),
    Table(
        "training.novel_transitions",
        "From history S to the next cluster, novel to the user, in which the user had a positive event of their own.",
        (DAY, TAXONOMY, USER, HISTORY, CLUSTER, TIME),
        key=("user_id", "cluster_id"),
        rules=(NOVEL,),
    ),
    Table(
        "feedback.transition_users",
        "Impressions and outcomes of one day by history, served cluster and user.",
        (DAY, TAXONOMY, HISTORY, CLUSTER, USER, IMPRESSIONS, *SIGNALS),
        key=("history", "cluster_id", "user_id"),
        rules=(NOVEL, *WITHIN_IMPRESSIONS),
    ),
    Table(
        "feedback.transition_counts",
        "Impressions and outcomes of one day by history and served cluster.",
        (DAY, TAXONOMY, HISTORY, CLUSTER, IMPRESSIONS, USERS, *SIGNALS),
        key=("history", "cluster_id"),
        rules=(NOVEL, "users <= impressions", *WITHIN_IMPRESSIONS),
    ),
    Table(
        "feedback.transition_scores",
        "(S, C_n, L) by signal, as of a day over the window: filtered, shrunk, normalised and rounded.",
        (
            DAY,
            TAXONOMY,
            HISTORY,
            CLUSTER,
            Column("signal", "VARCHAR", "what is scored: positive, liked, shared, completed, not_skipped"),
            IMPRESSIONS,
            USERS,
            Column("positives", "BIGINT", "impressions with the signal", least=0),
            Column("raw_rate", "DOUBLE", "positives over impressions", least=0, most=1),
            Column("prior_rate", "DOUBLE", "mean of the beta prior of the cluster", least=0, most=1),
            Column("shrunk_rate", "DOUBLE", "posterior mean of the rate", least=0, most=1),
            Column("lower", "DOUBLE", "lower end of the 90% credible interval of the rate", least=0, most=1),
            Column("upper", "DOUBLE", "upper end of the 90% credible interval of the rate", least=0, most=1),
            Column("score", "DOUBLE", "L: the shrunk rate, normalised and rounded"),
        ),
        key=("history", "cluster_id", "signal"),
        rules=(NOVEL, "positives <= impressions", INTERVAL),
    ),
    Table(
        "training.novelty_examples",
        "Fewer than 8,000 novel transitions, spread over target labels, with a holdout by user.",
        (AS_OF, TAXONOMY, USER, HISTORY, CLUSTER, SPLIT),
        rules=(NOVEL,),
    ),
    Table(
        "training.pointwise_examples",
        "Scored transitions as soft labels of the alignment model, with holdouts by history.",
        (
            AS_OF,
            TAXONOMY,
            HISTORY,
            CLUSTER,
            Column("score", "DOUBLE", "L, the soft label"),
            Column("weight", "DOUBLE", "weight of the row in the loss", least=0),
            Column("raw_rate", "DOUBLE", "held-out truth: positives over impressions", least=0, most=1),
            IMPRESSIONS,
            Column(
                "prior_rate", "DOUBLE", "mean of the beta prior of the cluster, from training rows", least=0, most=1
            ),
            Column("shrunk_rate", "DOUBLE", "posterior mean of the rate", least=0, most=1),
            Column("lower", "DOUBLE", "lower end of the 90% credible interval of the rate", least=0, most=1),
            Column("upper", "DOUBLE", "upper end of the 90% credible interval of the rate", least=0, most=1),
            Column("unseen", "BOOLEAN", "true where the cluster is kept from training, to judge what its label tells"),
            SPLIT,
        ),
        key=("history", "cluster_id"),
        rules=(NOVEL, INTERVAL),
    ),
    Table(
        "training.pairwise_examples",
        "Pairs of clusters served to one history, for the pairwise loss: which was liked more, and how surely.",
        (
            AS_OF,
            TAXONOMY,
            HISTORY,
            Column("better_id", "INTEGER", "cluster with the higher score", least=0),
            Column("worse_id", "INTEGER", "cluster with the lower score", least=0),
            Column("weight", "DOUBLE", "probability that the order is real", least=0),
            SPLIT,
        ),
        key=("history", "better_id", "worse_id"),
        rules=("better_id <> worse_id",),
    ),
    Table(
        "registry.checkpoints",
        "Every model checkpoint of the home, and every trial of a search; of those the best three keep their weights.",
        (
            Column("model", "VARCHAR", "base_model, taxonomy, novelty_model, alignment_model or alignment_search"),
            Column("version", "VARCHAR", "version: the fingerprint of what made it"),
            Column("folder", "VARCHAR", "folder, relative to the home"),
            Column("content_hash", "VARCHAR", "SHA-256 of its weights"),
            Column("made_at", "TIMESTAMP", "moment of making, UTC"),
            Column("current", "BOOLEAN", "true where the line uses it now"),
            Column("figures", "VARCHAR", "figures of its report, as JSON"),
        ),
        key=("model", "version"),
    ),
    Table(
        "registry.fingerprints",
        "What each asset or day was made from; equal fingerprints are not computed again.",
        (
            Column("asset", "VARCHAR", "asset key"),
            Column("partition", "VARCHAR", "day, or empty"),
            FINGERPRINT,
            Column("made_at", "TIMESTAMP", "moment of making, UTC"),
            Column("rows", "BIGINT", "rows written", least=0),
            Column("details", "VARCHAR", "further facts, as JSON"),
        ),
        key=("asset", "partition"),
    ),
    Table(
        "candidates.pools",
        "Draws from the label distribution of the novelty model for every history, duplicates merged.",
        (
            HISTORY,
            Column("draw_order", "INTEGER", "order of the first draw, from 0", least=0),
            CLUSTER,
            Column("draws", "INTEGER", "times drawn", least=1),
            PROBABILITY,
        ),
        key=("history", "cluster_id"),
        rules=(NOVEL,),
    ),
    Table(
        "candidates.scored",
        "The pools with the score of the alignment model.",
        (
            HISTORY,
            Column("draw_order", "INTEGER", "order of the first draw, from 0", least=0),
            CLUSTER,
            PROBABILITY,
            ALIGNMENT,
            Column(
                "predicted_rate",
                "DOUBLE",
                "predicted rate of the signal; null without a model",
                null=True,
                least=0,
                most=1,
            ),
            Column(
                "rate_lower",
                "DOUBLE",
                "lower end of the 90% interval of the true rate; null without a model",
                null=True,
                least=0,
                most=1,
            ),
            Column(
                "rate_upper",
                "DOUBLE",
                "upper end of the 90% interval of the true rate; null without a model",
                null=True,
                least=0,
                most=1,
            ),
        ),
        key=("history", "cluster_id"),
        rules=(NOVEL, "rate_lower <= rate_upper"),
    ),
    Table(
        "publication.transition_table",
        "The current published table: for every combination of K clusters, the k clusters to serve.",
        (
            Column("version", "VARCHAR", "published version"),
            HISTORY,
            Column("rank", "INTEGER", "place among the k, from 1", least=1),
            CLUSTER,
            ALIGNMENT,
            PROBABILITY,
            Column(
                "propensity",
                "DOUBLE",
                "probability that this version serves the cluster to a user of the history",
                least=0,
                most=1,
            ),
        ),
        key=("history", "cluster_id"),
        rules=(NOVEL,),
    ),
    Table(
        "publication.versions",
        "Every version that was published from this home and not pruned.",
        (
            Column("version", "VARCHAR", "version: hash of its content"),
            Column("current", "BOOLEAN", "true for the one that serving reads"),
            Column("published_at", "TIMESTAMP", "moment of publication, UTC", null=True),
            Column("ranking", "VARCHAR", "alignment, or novelty alone"),
            Column("histories", "BIGINT", "histories in it", least=1),
            Column("clusters", "BIGINT", "clusters in it", least=1),
            Column("replaces", "VARCHAR", "version that it replaced", null=True),
            Column("manifest", "VARCHAR", "the manifest, as JSON"),
        ),
        key=("version",),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _ALL}
