"""A taxonomy: one fitted, named and versioned set of interest clusters, kept in plain files.

New items are assigned to the existing clusters; fitting again is a deliberate act that makes another version.
"""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.arrays import Float32Array, IntArray
from models.evaluation.metrics import gini
from models.files import new_folder
from models.interests.cluster_labels import label_clusters
from models.interests.clusters import assign, cluster_sizes, fit_clusters
from models.interests.item_embeddings import Embedder, EmbeddingChoice, embed, embed_items
from models.interests.label_quality import in_words
from models.progress import Log, silent

FORMAT_VERSION = 1
DESCRIPTION_FILE = "taxonomy.json"
ARRAYS_FILE = "arrays.npz"
_UNREADABLE = (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """Interest clusters 0..N-1, largest first at the time of fitting.

    Attributes:
        labels: N unique texts.
        readable: whether each label is made of words; False for ``topic <id>``.
        sizes: items per cluster when it was fitted.
        centroids: float32 [N, d].
        embedder: the fitted method to embed items, the same for every item ever assigned.
        settings: what was asked for (``clusters``, ``embedding``), for the record.
        seed: of the fit.
        label_figures: how well labels tell the clusters apart, see ``LabelQuality``; no part of the version.
    """

    labels: tuple[str, ...]
    readable: tuple[bool, ...]
    sizes: tuple[int, ...]
    centroids: Float32Array
    embedder: Embedder
    settings: dict[str, Any]
    seed: int
    label_figures: dict[str, float] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """12 hex digits, the hash of everything above but the figures, which change nothing."""
        digest = hashlib.sha256(json.dumps(_description(self), sort_keys=True).encode())
        for name, array in sorted(_arrays(self).items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:12]


def fit_taxonomy(
    items: pl.DataFrame, clusters: int, method: EmbeddingChoice, seed: int, log: Log = silent
) -> tuple[Taxonomy, pl.DataFrame]:
    """Embed, cluster and name ``items``.

    Args:
        items: ``item_id`` and any of ``title``, ``tags``, ``category``, ``description``, ``embedding``; a row per item.
        clusters: N.
        method: how to embed text where no embedding is supplied.
        seed: of every random choice.
        log: receives progress lines.

    Returns:
        The taxonomy, and the assignment of these items as ``assign_items`` gives it (embedding them twice would double
        the time).

    Raises:
        ValueError: no items, fewer items than clusters, embeddings of different lengths.
    """
    embedder, embeddings = embed_items(items, method, seed, log)
    centroids = fit_clusters(embeddings, clusters, seed, log)
    cluster_ids, _ = assign(embeddings, centroids)
    sizes = cluster_sizes(cluster_ids, clusters)
    labels, quality = label_clusters(items, cluster_ids, clusters, embedder, embeddings, seed, log)
    log(f"{clusters} clusters of {sizes.min():,} to {sizes.max():,} items, Gini {gini(sizes):.2f}")
    taxonomy = Taxonomy(
        labels=tuple(label.text for label in labels),
        readable=tuple(label.readable for label in labels),
        sizes=tuple(sizes.tolist()),
        centroids=centroids,
        embedder=embedder,
        settings={"clusters": clusters, "embedding": method},
        seed=seed,
        label_figures=quality.figures,
    )
    log(in_words(quality.figures))
    return taxonomy, _assignment(items, embeddings, cluster_ids, centroids)


def assign_items(taxonomy: Taxonomy, items: pl.DataFrame, log: Log = silent) -> pl.DataFrame:
    """Assign items to the existing clusters: ``item_id``, ``cluster_id``, ``similarity`` (cosine to the centroid)."""
    embeddings = embed(taxonomy.embedder, items, log)
    return _assignment(items, embeddings, assign(embeddings, taxonomy.centroids)[0], taxonomy.centroids)


def save_taxonomy(taxonomy: Taxonomy, folder: Path) -> None:
    """Write the taxonomy to ``folder`` (JSON and npz, no pickles), whole or not at all."""
    head = {"format_version": FORMAT_VERSION, "version": taxonomy.version}
    description = head | _description(taxonomy) | {"label_figures": taxonomy.label_figures}
    with new_folder(folder) as partial:
        (partial / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        np.savez(partial / ARRAYS_FILE, allow_pickle=False, **_arrays(taxonomy))


def load_taxonomy(folder: Path) -> Taxonomy:
    """Read a taxonomy and check it against its version.

    Raises:
        FileNotFoundError: there is none in ``folder``.
        ValueError: it is damaged, or of a newer format.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file() or not (folder / ARRAYS_FILE).is_file():
        raise FileNotFoundError(f"no taxonomy in {folder}: materialise the interest clusters first")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        format_version = description["format_version"]
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as stored:
            arrays = dict(stored)
    except _UNREADABLE as error:
        raise ValueError(_damage(folder, "it cannot be read")) from error
    if format_version > FORMAT_VERSION:
        raise ValueError(f"{path} has format {format_version}, newer than {FORMAT_VERSION}: use a newer alignrec")
    try:
        taxonomy = _from_parts(description, arrays)
    except (KeyError, TypeError) as error:
        raise ValueError(_damage(folder, f"a part is missing ({error})")) from error
    if taxonomy.version != description["version"]:
        raise ValueError(_damage(folder, f"its content is not that of version {description['version']}"))
    return taxonomy


def _damage(folder: Path, what: str) -> str:
    return f"the taxonomy in {folder} is damaged: {what}. Restore the folder, or fit the interest clusters again"


def _description(taxonomy: Taxonomy) -> dict[str, Any]:
    return {
        "labels": list(taxonomy.labels),
        "readable": list(taxonomy.readable),
        "sizes": list(taxonomy.sizes),
        "method": taxonomy.embedder.method,
        "dimensions": taxonomy.embedder.dimensions,
        "vocabulary": list(taxonomy.embedder.vocabulary),
        "settings": taxonomy.settings,
        "seed": taxonomy.seed,
    }


def _arrays(taxonomy: Taxonomy) -> dict[str, Float32Array]:
    return {
        "centroids": taxonomy.centroids,
        "inverse_document_frequency": taxonomy.embedder.inverse_document_frequency,
        "components": taxonomy.embedder.components,
    }


def _from_parts(description: dict[str, Any], arrays: dict[str, Float32Array]) -> Taxonomy:
    return Taxonomy(
        labels=tuple(description["labels"]),
        readable=tuple(description["readable"]),
        sizes=tuple(description["sizes"]),
        centroids=arrays["centroids"],
        embedder=Embedder(
            description["method"],
            description["dimensions"],
            tuple(description["vocabulary"]),
            arrays["inverse_document_frequency"],
            arrays["components"],
        ),
        settings=description["settings"],
        seed=description["seed"],
        label_figures=description.get("label_figures", {}),  # none in what was made before 2026-12
    )


def _assignment(
    items: pl.DataFrame, embeddings: Float32Array, cluster_ids: IntArray, centroids: Float32Array
) -> pl.DataFrame:
    own = centroids[cluster_ids]
    length = np.linalg.norm(own, axis=1) * np.linalg.norm(embeddings, axis=1)
    similarity = np.einsum("id,id->i", embeddings, own) / np.where(length > 0, length, 1)
    return pl.DataFrame(
        {
            "item_id": items["item_id"],
            "cluster_id": pl.Series(cluster_ids, dtype=pl.Int32),
            "similarity": pl.Series(similarity, dtype=pl.Float32),
        }
    )
