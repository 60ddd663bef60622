"""The published transition table: written whole, checked, made current by one rename, and looked up.

Serving reads nothing but these files, so this module imports neither torch nor dagster and opens no database.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from models.files import (
    MANIFEST_FILE,
    NAME,
    checked_name,
    content_hash,
    fingerprint,
    move_into_place,
    partial_folder,
    replacing,
)
from models.messages import listed

TABLE_FILE = "transition_table.parquet"
CLUSTERS_FILE = "clusters.parquet"
CURRENT_FILE = "CURRENT"
FORMAT_VERSION = 1
NEAREST_LABELS, LEAST_ALIKE = 5, 0.5
"""So many labels are suggested for one that is unknown, if they are at least so much alike, from 0 to 1."""


class TransitionTableError(ValueError):
    """The published files or the question are not usable; the message names the file or the cluster, and the fix."""


@dataclass(frozen=True)
class PlannedCluster:
    """One cluster planned for a history."""

    rank: int
    cluster_id: int
    label: str
    alignment_score: float | None
    novelty_probability: float
    propensity: float


@dataclass(frozen=True)
class TransitionTable:
    """One published version, opened for look-ups."""

    version: str
    manifest: dict[str, Any]
    rows: pl.DataFrame
    clusters: pl.DataFrame

    @classmethod
    def open(cls, published: Path, version: str | None = None) -> "TransitionTable":
        """Open the current version, or a named one.

        Args:
            published: the folder ``published`` of a home.
            version: a version's id; by default what ``CURRENT`` names.

        Raises:
            TransitionTableError: nothing is published, or files are missing, changed or of a newer format.
        """
        name = current_version(published) if version is None else checked_name(version, "the version")
        folder = published / name
        manifest = verify(folder)
        return cls(name, manifest, pl.read_parquet(folder / TABLE_FILE), pl.read_parquet(folder / CLUSTERS_FILE))

    @cached_property
    def labels(self) -> dict[int, str]:
        """Label of every cluster id."""
        return dict(zip(self.clusters["cluster_id"].to_list(), self.clusters["label"].to_list(), strict=True))

    @property
    def k(self) -> int:
        """Clusters that are planned for a history, at most."""
        return int(self.rows.select(pl.col("rank").max()).item())

    def cluster_id(self, cluster: str | int) -> int:
        """Cluster id of an id, a whole label, or a part of one label that no other label contains.

        Raises:
            TransitionTableError: no such cluster, with the labels that are spelt most alike; or more than one.
        """
        text = str(cluster).strip().lower()
        if text.isdecimal():
            if int(text) in self.labels:
                return int(text)
            raise TransitionTableError(f"there is no cluster {text}: ids run from 0 to {max(self.labels)}")
        exact = [key for key, label in self.labels.items() if label.lower() == text]
        matching = exact or [key for key, label in self.labels.items() if text and text in label.lower()]
        if len(matching) == 1:
            return matching[0]
        if not matching:
            alike = "; ".join(f"{key} ({self.labels[key]})" for key in self._spelt_alike(text)) or "none is near"
            raise TransitionTableError(
                f"no cluster is labelled {cluster!r}. The nearest labels: {alike}. `alignrec clusters` lists all"
            )
        several = listed([f"{key} ({self.labels[key]})" for key in matching], "; ")
        raise TransitionTableError(f"{cluster!r} is in several labels: name one by its id, {several}")

    def _spelt_alike(self, text: str) -> list[int]:
        """Clusters whose label, or a word of it, is spelt most like a text; the nearest first."""
        alike: dict[int, float] = {}
        for key, label in self.labels.items():
            words = [label.lower(), *re.findall(r"\w+", label.lower())]
            alike[key] = max(SequenceMatcher(None, text, word).ratio() for word in words)
        nearest = sorted(alike, key=lambda key: (-alike[key], key))[:NEAREST_LABELS]
        return [key for key in nearest if alike[key] >= LEAST_ALIKE]

    def lookup(self, clusters: Sequence[str | int]) -> list[PlannedCluster]:
        """Planned clusters for a history given as ids or labels, in any order, best first.

        Raises:
            TransitionTableError: an unknown cluster, one named twice, or a history of the wrong length, or one that is
                not planned.
        """
        history = sorted(self.cluster_id(cluster) for cluster in clusters)
        repeated = sorted({key for key in history if history.count(key) > 1})
        if repeated:
            raise TransitionTableError(
                f"cluster {repeated[0]} ({self.labels[repeated[0]]}) is named twice: a history holds distinct clusters"
            )
        length = int(self.manifest["history_clusters"])
        if len(history) != length:
            raise TransitionTableError(f"this table takes histories of {length} clusters, {len(history)} were named")
        rows = self.rows.filter(pl.col("history") == pl.lit(history, dtype=pl.List(pl.Int32))).sort("rank")
        if rows.is_empty():
            raise TransitionTableError(
                f"{' + '.join(self.labels[key] for key in history)} is not planned: this table has the "
                f"{self.rows['history'].n_unique():,} histories that users held when they were chosen"
            )
        return [PlannedCluster(label=self.labels[row["cluster_id"]], **row) for row in rows.drop("history").to_dicts()]


def current_version(published: Path) -> str:
    """The version that serving reads.

    Raises:
        TransitionTableError: nothing has been published yet.
    """
    pointer = published / CURRENT_FILE
    if not pointer.is_file():
        raise TransitionTableError(f"nothing is published yet: {pointer} does not exist. `alignrec run` publishes.")
    try:
        return checked_name(pointer.read_text(encoding="utf-8").partition("\n")[0].strip(), "the version")
    except ValueError as error:
        raise TransitionTableError(
            f"{pointer} is damaged: {error}. `alignrec rollback VERSION` with a folder of {published} mends it"
        ) from error


def versions(published: Path) -> list[str]:
    """The versions that lie in the folder ``published`` of a home, by name."""
    return sorted(path.parent.name for path in published.glob(f"*/{MANIFEST_FILE}") if NAME.fullmatch(path.parent.name))


def publish(published: Path, rows: pl.DataFrame, clusters: pl.DataFrame, manifest: dict[str, Any]) -> str:
    """Write a version and make it current; see :func:`write_version`."""
    version = write_version(published, rows, clusters, manifest)
    make_current(published, version)
    return version


def write_version(published: Path, rows: pl.DataFrame, clusters: pl.DataFrame, manifest: dict[str, Any]) -> str:
    """Write a version whole and check it; the same content gives the same version.

    Args:
        published: the folder ``published`` of a home.
        rows: history, rank, cluster_id, alignment_score, novelty_probability, propensity.
        clusters: cluster_id, label, readable.
        manifest: what made the table; ``made_at``, ``made_from`` and ``replaces`` do not count as content.

    Returns:
        The version's id.

    Raises:
        TransitionTableError: the rows are not a whole table.
    """
    _check_rows(rows, clusters)
    with partial_folder(published / "next") as folder:
        rows.write_parquet(folder / TABLE_FILE)
        clusters.write_parquet(folder / CLUSTERS_FILE)
        hashes = {name: content_hash(folder / name) for name in (TABLE_FILE, CLUSTERS_FILE)}
        content = {key: value for key, value in manifest.items() if key not in ("made_at", "replaces", "made_from")}
        version = fingerprint({"files": hashes, "manifest": content})
        whole = {"format_version": FORMAT_VERSION, "version": version, "files": hashes, **manifest}
        (folder / MANIFEST_FILE).write_text(json.dumps(whole, indent=2, default=str) + "\n", encoding="utf-8")
        # If it exists already, made before or by another process, it has the same content and stays.
        move_into_place(folder, published / version)
    verify(published / version)
    return version


def make_current(published: Path, version: str) -> None:
    """Point ``CURRENT`` at a version by one atomic rename; this also rolls a table back.

    Raises:
        TransitionTableError: the version is missing or damaged.
    """
    verify(published / checked_name(version, "the version"))
    with replacing(published / CURRENT_FILE) as partial:
        partial.write_text(f"{version}\n", encoding="utf-8")


def verify(folder: Path) -> dict[str, Any]:
    """Check a version's files against its manifest and return the manifest.

    Raises:
        TransitionTableError: a file is missing, changed, or of a newer format.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise TransitionTableError(
            f"{path} is missing: publish again with `alignrec run`, or roll back to another version of "
            f"{folder.parent}: {listed(versions(folder.parent)) or 'it has none'}"
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise TransitionTableError(f"{path} is damaged ({error}): roll back to another version") from error
    if manifest.get("format_version", 0) > FORMAT_VERSION:
        raise TransitionTableError(
            f"{path} has format {manifest['format_version']}, this alignrec knows formats up to {FORMAT_VERSION}: "
            "upgrade it"
        )
    for name, expected in manifest["files"].items():
        file = folder / name
        if not file.is_file() or content_hash(file) != expected:
            raise TransitionTableError(
                f"{file} is missing or was changed since its publication: roll back or publish again"
            )
    return manifest


def _check_rows(rows: pl.DataFrame, clusters: pl.DataFrame) -> None:
    if rows.is_empty():
        raise TransitionTableError("the table has no rows: there were no candidates to publish")
    known = set(clusters["cluster_id"].to_list())
    if not set(rows["cluster_id"].to_list()) <= known:
        raise TransitionTableError(
            "the table plans a cluster that the taxonomy does not have: run the candidates again"
        )
    own = rows.filter(pl.col("history").list.contains(pl.col("cluster_id")))
    if own.height:
        raise TransitionTableError(f"the table plans a cluster of the history itself: {own.row(0, named=True)}")
    if rows.select(pl.struct("history", "cluster_id").is_duplicated().any()).item():
        raise TransitionTableError("the table plans a cluster twice for one history")
