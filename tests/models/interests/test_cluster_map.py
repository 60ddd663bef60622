"""The map of the clusters: a picture of the promised size whose labels keep out of one another's way."""

import numpy as np
import pytest
from matplotlib import image

from models.interests.cluster_map import draw_cluster_map, place_centroids, spread_points


@pytest.mark.parametrize("clusters", [1, 2, 5, 30])
def test_a_picture_of_1400_pixels_with_something_on_it(tmp_path, clusters):
    rng = np.random.default_rng(0)
    labels = [f"keyword{number}, other words, third" for number in range(clusters)]
    path = tmp_path / "map.png"
    draw_cluster_map(path, rng.normal(size=(clusters, 8)).astype(np.float32), labels, [3] * clusters, "Clusters")
    picture = image.imread(path)
    assert picture.shape[:2] == (1000, 1400)
    assert picture[100:, :, :3].min() < 0.5  # below the title
    assert [file.name for file in tmp_path.iterdir()] == ["map.png"]


def test_places_repeat_and_neighbours_in_meaning_are_neighbours_on_the_map():
    rng = np.random.default_rng(1)
    families = np.repeat(rng.normal(size=(3, 8)), 8, axis=0)
    centroids = (families + 0.1 * rng.normal(size=families.shape)).astype(np.float32)
    places = place_centroids(centroids)
    np.testing.assert_array_equal(places, place_centroids(centroids))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(24)
    assert (distance.argmin(axis=1) // 8 == np.arange(24) // 8).all()


def test_spreading_keeps_the_order_and_fills_the_square():
    points = np.array([[0.0, 5.0], [1.0, 4.0], [100.0, 3.0]])
    spread = spread_points(points)
    assert spread[:, 0].tolist() == pytest.approx([0.0, (0.01 + 0.5) / 2, 1.0])
    assert spread[:, 1].tolist() == pytest.approx([1.0, 0.5, 0.0])


def test_one_point_stands_in_the_middle_and_two_beside_each_other():
    assert spread_points(np.array([[0.25, 0.5]])).tolist() == [[0.5, 0.5]]
    assert spread_points(np.array([[0.25, 0.5], [0.75, 0.5]])).tolist() == [[0.0, 0.5], [1.0, 0.5]]
