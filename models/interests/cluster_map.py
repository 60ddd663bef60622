"""A picture of a taxonomy: clusters as discs on a plane, neighbours in meaning near one another, with their labels."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from models.arrays import Float32Array, Float64Array
from models.files import replacing

WIDTH_PIXELS, HEIGHT_PIXELS, DOTS_PER_INCH = 1400, 1000, 140
LARGEST_DISC = 1_500.0  # square points
MOST_LABELS = 70  # more cannot be read
MOST_COLOURS = 10
SEED = 0  # of the places before t-SNE or PCA moves them
# Where a label may be beside its disc: direction, in the order of preference.
_DIRECTIONS = ((0, -1), (0, 1), (1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1))


def draw_cluster_map(
    path: Path, centroids: Float32Array, labels: Sequence[str], sizes: Sequence[int], title: str
) -> None:
    """Write a PNG of 1400 x 1000 pixels.

    Places come from t-SNE of the centroids (van der Maaten and Hinton, 2008), or PCA for fewer than eight clusters; the
    area of a disc is the number of items, its colour groups clusters whose centroids are near (Ward's linkage). Above
    ``MOST_LABELS`` clusters only the largest are named.

    Args:
        path: of the PNG.
        centroids: float32 [N, d].
        labels: N texts.
        sizes: N numbers of items.
        title: of the picture.
    """
    points = spread_points(place_centroids(centroids))
    figure = Figure(figsize=(WIDTH_PIXELS / DOTS_PER_INCH, HEIGHT_PIXELS / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.90))
    areas = LARGEST_DISC * np.asarray(sizes) / max(1, *sizes)
    axes.scatter(
        points[:, 0], points[:, 1], s=areas, c=_colours(centroids), alpha=0.75, edgecolors="white", linewidths=1
    )
    axes.set(xlim=(-0.08, 1.08), ylim=(-0.06, 1.06), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color="#222222", pad=12)
    _write_labels(axes, points, labels, areas)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", facecolor="white")


def place_centroids(centroids: Float32Array) -> Float64Array:
    """Points on the plane, [N, 2]."""
    count = len(centroids)
    if count < 3:
        return np.array([[0.25 + 0.5 * number, 0.5] for number in range(count)])
    if count < 8:
        return np.asarray(PCA(2, random_state=SEED).fit_transform(centroids), dtype=np.float64)
    perplexity = min(15.0, (count - 1) / 3)
    embedding = TSNE(2, perplexity=perplexity, init="pca", metric="cosine", random_state=SEED).fit_transform(centroids)
    return np.asarray(embedding, dtype=np.float64)


def spread_points(points: Float64Array) -> Float64Array:
    """Move points half-way to an even spread over the unit square: by value, and by rank, on each axis."""
    count = len(points)
    extent = np.ptp(points, axis=0)
    by_value = (points - points.min(axis=0)) / np.where(extent > 0, extent, 1)
    by_rank = points.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable") / max(1, count - 1)
    return np.where(extent > 0, (by_value + by_rank) / 2, 0.5)  # points that do not differ stand in the middle


def _colours(centroids: Float32Array) -> Float64Array:
    """[N, 4], one colour per group of near clusters."""
    groups = min(MOST_COLOURS, max(1, len(centroids) // 3))
    if groups < 2:
        return np.array([mpl.colormaps["tab10"](0)] * len(centroids))
    group = AgglomerativeClustering(groups).fit_predict(centroids)
    return np.asarray(mpl.colormaps["tab10"](group))


def _write_labels(axes: Axes, points: Float64Array, labels: Sequence[str], areas: Float64Array) -> None:
    """Write the labels of the largest clusters, each at the free place nearest to its disc."""
    places = axes.transData.transform(points)
    radii = np.sqrt(areas / np.pi) * DOTS_PER_INCH / 72
    taken = [Bbox([place - radius, place + radius]) for place, radius in zip(places, radii, strict=True)]
    for cluster in np.argsort(-areas, kind="stable")[:MOST_LABELS]:
        text = axes.text(0, 0, _wrapped(labels[cluster]), fontsize=7.5, color="#222222", ha="center", va="center")
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])  # where a disc cannot be avoided
        box = text.get_window_extent()
        place = _free_place(places[cluster], radii[cluster], box.width, box.height, taken, axes.bbox)
        taken.append(Bbox.from_bounds(place[0] - box.width / 2, place[1] - box.height / 2, box.width, box.height))
        text.set_position(tuple(axes.transData.inverted().transform(place)))


def _free_place(
    centre: Float64Array, radius: float, width: float, height: float, taken: list[Bbox], page: Bbox
) -> Float64Array:
    """Centre of the label, in pixels: the place round the disc that covers least, near ones preferred."""
    best, least = centre, np.inf
    for gap in (3.0, 14.0, 26.0, 40.0):
        for across, up in _DIRECTIONS:
            x = centre[0] + across * (radius * (1 if up == 0 else 0.6) + gap + width / 2)
            y = centre[1] + up * (radius * (1 if across == 0 else 0.6) + gap + height / 2)
            box = Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
            outside = box.x0 < page.x0 or box.x1 > page.x1 or box.y0 < page.y0 or box.y1 > page.y1
            covered = sum(_shared_area(box, other) for other in taken) + (width * height if outside else 0)
            if covered < least:
                best, least = np.array([x, y]), covered
            if covered == 0:
                return best
    return best


def _shared_area(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else float(shared.width * shared.height)


def _wrapped(label: str) -> str:
    """Two keywords to a line."""
    keywords = label.split(", ")
    return ",\n".join(", ".join(keywords[start : start + 2]) for start in range(0, len(keywords), 2))
