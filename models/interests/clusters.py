"""Interest clusters as centroids: balanced k-means over item embeddings, and nearest-centroid assignment.

Works on arrays alone. Texts, labels and versions of clusters are in cluster_labels and taxonomy.
"""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.arrays import Float32Array, IntArray
from models.progress import Log, Progress, silent

# Balance: no cluster below a fifth of the mean size or above four times it, where the data allow.
SMALLEST_SHARE = 1 / 5
LARGEST_SHARE = 4.0
BALANCING_ROUNDS = 30
REFINING_STEPS = 5
SAMPLE_PER_CLUSTER = 256  # items per centroid that are fitted to; more would move centroids by less than the noise
BATCH = 16_384
_SAME_POINT = 1e-3  # distances below are rounding: float32 loses that much in |x|^2 - 2 x.c + |c|^2


def fit_clusters(embeddings: Float32Array, clusters: int, seed: int, log: Log = silent) -> Float32Array:
    """Fit exactly ``clusters`` centroids, none of them empty, with balanced sizes.

    K-means, then rounds that take centroids away from clusters that are too small and use them to split those that are
    too large. Ids are stable: cluster 0 holds the most items, ties by centroid values.

    Args:
        embeddings: float32 [items, d], rows of unit length.
        clusters: N.
        seed: of the sample, the starting centroids and the splits; one seed gives one result.
        log: receives progress lines.

    Returns:
        float32 [N, d], the mean vector of each cluster (not of unit length).

    Raises:
        ValueError: fewer items, or fewer distinct embeddings, than clusters.
    """
    if clusters < 1:
        raise ValueError(f"cannot form {clusters} clusters: raise the setting `interests.clusters`")
    if len(embeddings) < clusters:
        raise ValueError(
            f"{len(embeddings)} items cannot form {clusters} clusters: "
            f"lower the setting `interests.clusters` to {len(embeddings)} or less, or land more items"
        )
    generator = np.random.default_rng(seed)
    sample = _sample(embeddings, clusters, generator)
    distinct = len(np.unique(sample, axis=0))
    if distinct < clusters:
        raise ValueError(
            f"the items have only {distinct} distinct embeddings, too few for {clusters} clusters: "
            f"lower the setting `interests.clusters` to {distinct} or less, or land items with richer text"
        )
    log(f"k-means: {len(sample):,} items, {clusters} clusters")
    centroids = _balance(sample, _kmeans(sample, clusters, seed), generator, log)
    centroids = _fill_empty(sample, centroids)
    return _largest_first(embeddings, centroids)


def assign(embeddings: Float32Array, centroids: Float32Array, batch: int = BATCH) -> tuple[IntArray, Float32Array]:
    """Nearest centroid of each item (ties: the lower id), and the Euclidean distance to it: [items], [items]."""
    ids = np.empty(len(embeddings), dtype=np.int64)
    squared = np.empty(len(embeddings), dtype=np.float32)
    centroid_square = np.square(centroids).sum(axis=1)
    for start in range(0, len(embeddings), batch):
        rows = embeddings[start : start + batch]
        # |x - c|^2 = |x|^2 - 2 x.c + |c|^2: one matrix product per batch, no [batch, N, d] array.
        partial = centroid_square - 2 * rows @ centroids.T
        nearest = partial.argmin(axis=1)
        ids[start : start + batch] = nearest
        squared[start : start + batch] = partial[np.arange(len(rows)), nearest] + np.square(rows).sum(axis=1)
    return ids, np.sqrt(np.maximum(squared, 0))


def cluster_sizes(ids: IntArray, clusters: int) -> IntArray:
    """Items per cluster: [N]."""
    return np.bincount(ids, minlength=clusters)


def _sample(embeddings: Float32Array, clusters: int, generator: np.random.Generator) -> Float32Array:
    wanted = clusters * SAMPLE_PER_CLUSTER
    if len(embeddings) <= wanted:
        return embeddings
    return embeddings[np.sort(generator.choice(len(embeddings), wanted, replace=False))]


def _kmeans(embeddings: Float32Array, clusters: int, seed: int) -> Float32Array:
    # One OpenMP thread: threads add up their partial sums in the order in which they finish, and centroids that differ
    # in the last bit between runs would make a new taxonomy version each time.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(clusters, n_init=2 if clusters <= 128 else 1, max_iter=100, random_state=seed).fit(embeddings)
    return np.asarray(fitted.cluster_centers_, dtype=np.float32)


def _balance(
    embeddings: Float32Array, centroids: Float32Array, generator: np.random.Generator, log: Log
) -> Float32Array:
    """Move centroids from too small to too large clusters, round by round; the best round wins."""
    mean = len(embeddings) / len(centroids)
    best, least_violation = centroids, np.inf
    progress = Progress(BALANCING_ROUNDS, "balancing rounds at most", log)
    for _ in range(BALANCING_ROUNDS):
        sizes = cluster_sizes(assign(embeddings, centroids)[0], len(centroids))
        shortfall = np.maximum(0, 1 - sizes / (SMALLEST_SHARE * mean))
        excess = np.maximum(0, sizes / (LARGEST_SHARE * mean) - 1)
        violation = float(shortfall.sum() + excess.sum())
        if violation < least_violation:
            best, least_violation = centroids, violation
        if violation == 0:
            break
        moves = max(int((shortfall > 0).sum()), int((excess > 0).sum()))
        centroids = _move(embeddings, centroids, moves, generator)
        for _ in range(REFINING_STEPS):
            centroids = _refine(embeddings, centroids)
        progress.advance()
    return best


def _move(
    embeddings: Float32Array, centroids: Float32Array, moves: int, generator: np.random.Generator
) -> Float32Array:
    """Take the centroids of the ``moves`` smallest clusters and split as many of the largest that can be split."""
    ids, distances = assign(embeddings, centroids)
    spread = np.zeros(len(centroids), dtype=np.float32)
    np.maximum.at(spread, ids, distances)
    order = np.argsort(cluster_sizes(ids, len(centroids)), kind="stable")
    givers = order[:moves]
    takers = [taker for taker in order[::-1] if spread[taker] > _SAME_POINT and taker not in givers]
    moved = centroids.copy()
    for giver, taker in zip(givers, takers, strict=False):
        moved[[taker, giver]] = _kmeans(embeddings[ids == taker], 2, int(generator.integers(2**31)))
    return moved


def _refine(embeddings: Float32Array, centroids: Float32Array) -> Float32Array:
    """One Lloyd step: each centroid becomes the mean of the items nearest to it; an empty one stays where it is."""
    ids, _ = assign(embeddings, centroids)
    sizes = cluster_sizes(ids, len(centroids))
    order = np.argsort(ids, kind="stable")
    present = np.flatnonzero(sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])[present]
    refined = centroids.copy()
    refined[present] = np.add.reduceat(embeddings[order], starts, axis=0) / sizes[present, None]
    return refined


def _fill_empty(embeddings: Float32Array, centroids: Float32Array) -> Float32Array:
    """Set each empty centroid on the item farthest from its own; ends because there are enough distinct items."""
    filled = centroids.copy()
    for _ in range(2 * len(centroids)):
        ids, distances = assign(embeddings, filled)
        empty = np.flatnonzero(cluster_sizes(ids, len(centroids)) == 0)
        if len(empty) == 0:
            return filled
        filled[empty[0]] = embeddings[int(distances.argmax())]
    raise ValueError(
        f"could not form {len(centroids)} clusters without an empty one: lower the setting `interests.clusters`"
    )


def _largest_first(embeddings: Float32Array, centroids: Float32Array) -> Float32Array:
    sizes = cluster_sizes(assign(embeddings, centroids)[0], len(centroids))
    order = np.lexsort((*centroids.T[::-1], -sizes))
    return centroids[order]
