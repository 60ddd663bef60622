"""Every warehouse table in one place: its columns, their types and what they mean.

The DDL, the column schema shown in the Dagster UI and the documentation all come from these descriptions. How a table
is computed stands elsewhere: in the file of ``sql/`` that bears its name, or in the asset that calls ``models``.
"""

from dataclasses import dataclass

FORMAT_VERSION = 1
"""Version of landing layout, warehouse schema and manifests; a home with a newer one is refused by name."""


@dataclass(frozen=True)
class Column:
    """One column: its name, DuckDB type and meaning."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Table:
    """One warehouse table; ``name`` includes its schema."""

    name: str
    description: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> str:
        """The part of the name before the dot."""
        return self.name.split(".")[0]


DAY = Column("day", "DATE", "UTC day")
AS_OF = Column("as_of", "DATE", "last day of the log that was read")
TAXONOMY = Column("taxonomy_version", "VARCHAR", "taxonomy that the cluster ids belong to")
HISTORY = Column("history", "INTEGER[]", "S: the K clusters of the user's latest positive events, sorted by id")
CLUSTER = Column("cluster_id", "INTEGER", "interest cluster")
USER = Column("user_id", "VARCHAR", "user")
ITEM = Column("item_id", "VARCHAR", "item")
TIME = Column("ts", "TIMESTAMP", "moment in UTC")
POSITIVE = Column("positive", "BOOLEAN", "positive playback, given or derived by the rule in the settings")
OUTCOMES = (
    Column("watch_s", "DOUBLE", "seconds watched"),
    Column("completed", "BOOLEAN", "played to the end"),
    Column("liked", "BOOLEAN", "liked"),
    Column("shared", "BOOLEAN", "shared"),
    Column("skipped", "BOOLEAN", "skipped"),
)
SPLIT = Column("split", "VARCHAR", "train, or the holdout that the row belongs to")
IMPRESSIONS = Column("impressions", "BIGINT", "impressions")
SIGNALS = (
    Column("positives", "BIGINT", "impressions with positive playback"),
    Column("likes", "BIGINT", "impressions with a like"),
    Column("shares", "BIGINT", "impressions with a share"),
    Column("completions", "BIGINT", "impressions played to the end"),
    Column("skips", "BIGINT", "impressions skipped"),
)
USERS = Column("users", "BIGINT", "distinct users")
PROBABILITY = Column(
    "novelty_probability", "DOUBLE", "label probability of the novelty model at the sampling temperature"
)
ALIGNMENT = Column(
    "alignment_score", "DOUBLE", "predicted score of the alignment model; null where none was trained yet"
)
FINGERPRINT = Column("fingerprint", "VARCHAR", "hash of the inputs, settings and code that made it")

_ALL = (
    Table(
        "raw.items",
        "The catalogue: the latest row of every item.",
        (
            ITEM,
            Column("title", "VARCHAR", "title"),
            Column("description", "VARCHAR", "longer text"),
            Column("tags", "VARCHAR[]", "tags"),
            Column("category", "VARCHAR", "category"),
            Column("duration_s", "DOUBLE", "playing time in seconds"),
            Column("published_at", "TIMESTAMP", "published at, UTC"),
            Column("updated_at", "TIMESTAMP", "last change, UTC; the latest wins"),
            Column("embedding", "FLOAT[]", "embedding supplied by the platform"),
        ),
    ),
    Table(
        "raw.events",
        "What users did anywhere on the platform, one row per user, item and moment.",
        (DAY, USER, ITEM, TIME, OUTCOMES[0], Column("rating", "DOUBLE", "rating"), *OUTCOMES[1:], POSITIVE),
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
            HISTORY,
            CLUSTER,
            Column("policy", "VARCHAR", "who chose the cluster"),
            Column("table_version", "VARCHAR", "published version that planned it"),
            TAXONOMY,
            Column("position", "INTEGER", "place on the page, from 0"),
            Column("propensity", "DOUBLE", "probability with which the policy served this cluster"),
            *OUTCOMES,
            POSITIVE,
            Column("final", "BOOLEAN", "true once the attribution window has closed within the data at hand"),
        ),
    ),
    Table(
        "raw.rejected_rows",
        "Landing rows that break the contract, with the reason; a row number counts from 1, null means the whole file.",
        (
            Column("kind", "VARCHAR", "items, events, feedback or outcomes"),
            DAY,
            Column("file", "VARCHAR", "landing file, relative to the landing folder"),
            Column("row_number", "BIGINT", "row in that file, from 1"),
            Column("reason", "VARCHAR", "what is wrong, in which field"),
            Column("payload", "VARCHAR", "the row as JSON"),
        ),
    ),
    Table(
        "raw.landing_files",
        "Landing files that have been read: which days their rows belong to.",
        (
            Column("kind", "VARCHAR", "items, events, feedback or outcomes"),
            Column("file", "VARCHAR", "file, relative to the landing folder"),
            Column("content_hash", "VARCHAR", "SHA-256 of its bytes"),
            Column("first_day", "DATE", "earliest day that its rows belong to"),
            Column("last_day", "DATE", "latest day that its rows belong to"),
            Column("rows", "BIGINT", "rows in it"),
        ),
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
            Column("items", "BIGINT", "items when the taxonomy was made"),
        ),
    ),
    Table(
        "interests.item_clusters",
        "The cluster of every item; new items join the clusters that stand.",
        (TAXONOMY, ITEM, CLUSTER, Column("similarity", "DOUBLE", "cosine to the cluster's centroid")),
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
            Column("first_positive_ts", "TIMESTAMP", "first positive event of the day"),
            Column("last_positive_ts", "TIMESTAMP", "last positive event of the day"),
        ),
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
    ),
    Table(
        "training.novel_transitions",
        "From history S to the next cluster, novel to the user, in which the user had a positive event of their own.",
        (DAY, TAXONOMY, USER, HISTORY, CLUSTER, TIME),
    ),
    Table(
        "feedback.transition_users",
        "Impressions and outcomes of one day by history, served cluster and user.",
        (DAY, TAXONOMY, HISTORY, CLUSTER, USER, IMPRESSIONS, *SIGNALS),
    ),
    Table(
        "feedback.transition_counts",
        "Impressions and outcomes of one day by history and served cluster.",
        (DAY, TAXONOMY, HISTORY, CLUSTER, IMPRESSIONS, USERS, *SIGNALS),
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
            Column("positives", "BIGINT", "impressions with the signal"),
            Column("raw_rate", "DOUBLE", "positives over impressions"),
            Column("prior_rate", "DOUBLE", "mean of the beta prior of the cluster"),
            Column("shrunk_rate", "DOUBLE", "posterior mean of the rate"),
            Column("lower", "DOUBLE", "lower end of the 90% credible interval of the rate"),
            Column("upper", "DOUBLE", "upper end of the 90% credible interval of the rate"),
            Column("score", "DOUBLE", "L: the shrunk rate, normalised and rounded"),
        ),
    ),
    Table(
        "training.novelty_examples",
        "Fewer than 8,000 novel transitions, spread over target labels, with a holdout by user.",
        (AS_OF, TAXONOMY, USER, HISTORY, CLUSTER, SPLIT),
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
            Column("weight", "DOUBLE", "weight of the row in the loss"),
            Column("raw_rate", "DOUBLE", "held-out truth: positives over impressions"),
            IMPRESSIONS,
            Column("prior_rate", "DOUBLE", "mean of the beta prior of the cluster, from training rows"),
            Column("shrunk_rate", "DOUBLE", "posterior mean of the rate"),
            Column("lower", "DOUBLE", "lower end of the 90% credible interval of the rate"),
            Column("upper", "DOUBLE", "upper end of the 90% credible interval of the rate"),
            Column("unseen", "BOOLEAN", "true where the cluster is kept from training, to judge what its label tells"),
            SPLIT,
        ),
    ),
    Table(
        "training.pairwise_examples",
        "Pairs of clusters served to one history, for the pairwise loss: which was liked more, and how surely.",
        (
            AS_OF,
            TAXONOMY,
            HISTORY,
            Column("better_id", "INTEGER", "cluster with the higher score"),
            Column("worse_id", "INTEGER", "cluster with the lower score"),
            Column("weight", "DOUBLE", "probability that the order is real"),
            SPLIT,
        ),
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
    ),
    Table(
        "registry.fingerprints",
        "What each asset or day was made from; equal fingerprints are not computed again.",
        (
            Column("asset", "VARCHAR", "asset key"),
            Column("partition", "VARCHAR", "day, or empty"),
            FINGERPRINT,
            Column("made_at", "TIMESTAMP", "moment of making, UTC"),
            Column("rows", "BIGINT", "rows written"),
            Column("details", "VARCHAR", "further facts, as JSON"),
        ),
    ),
    Table(
        "candidates.pools",
        "Draws from the label distribution of the novelty model for every history, duplicates merged.",
        (
            HISTORY,
            Column("draw_order", "INTEGER", "order of the first draw, from 0"),
            CLUSTER,
            Column("draws", "INTEGER", "times drawn"),
            PROBABILITY,
        ),
    ),
    Table(
        "candidates.scored",
        "The pools with the score of the alignment model.",
        (
            HISTORY,
            Column("draw_order", "INTEGER", "order of the first draw, from 0"),
            CLUSTER,
            PROBABILITY,
            ALIGNMENT,
            Column("predicted_rate", "DOUBLE", "predicted rate of the signal; null without a model"),
            Column("rate_lower", "DOUBLE", "lower end of the 90% interval of the true rate; null without a model"),
            Column("rate_upper", "DOUBLE", "upper end of the 90% interval of the true rate; null without a model"),
        ),
    ),
    Table(
        "publication.transition_table",
        "The current published table: for every combination of K clusters, the k clusters to serve.",
        (
            Column("version", "VARCHAR", "published version"),
            HISTORY,
            Column("rank", "INTEGER", "place among the k, from 1"),
            CLUSTER,
            ALIGNMENT,
            PROBABILITY,
            Column("propensity", "DOUBLE", "probability that this version serves the cluster to a user of the history"),
        ),
    ),
    Table(
        "publication.versions",
        "Every version that was published from this home and not pruned.",
        (
            Column("version", "VARCHAR", "version: hash of its content"),
            Column("current", "BOOLEAN", "true for the one that serving reads"),
            Column("published_at", "TIMESTAMP", "moment of publication, UTC"),
            Column("ranking", "VARCHAR", "alignment, or novelty alone"),
            Column("histories", "BIGINT", "histories in it"),
            Column("clusters", "BIGINT", "clusters in it"),
            Column("replaces", "VARCHAR", "version that it replaced"),
            Column("manifest", "VARCHAR", "the manifest, as JSON"),
        ),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _ALL}
