"""The forecast of what the language model says: against scikit-learn's ridge, and where it can be exact."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from models.alignment.candidate_reader import CandidateReader
from models.alignment.words_forecast import PENALTIES, Readings, fit_forecast, label_coordinates
from models.language.language_model import load_tokenizer, new_scoring_model

CLUSTERS, SIZE = 12, 3


def sampled(noise, histories=60, seed=0):
    """Readings that are bilinear in mean members and candidates, but for the noise."""
    generator = np.random.default_rng(seed)
    coordinates, weights = generator.normal(size=(CLUSTERS, SIZE)), generator.normal(size=(SIZE + 1, SIZE + 1))
    members = [sorted(generator.choice(CLUSTERS, 2, replace=False).tolist()) for _ in range(histories)]
    candidates = [[c for c in range(CLUSTERS) if c not in history][: 3 + at % 4] for at, history in enumerate(members)]
    words = []
    for history, clusters in zip(members, candidates, strict=True):
        side = np.append(1.0, (coordinates[history[0]] + coordinates[history[1]]) / 2)
        exact = np.array([side @ weights @ np.append(1.0, coordinates[cluster]) for cluster in clusters])
        heads = np.stack([exact, 2 - exact], axis=1)
        words.append(heads + generator.normal(0, noise, heads.shape))
    return coordinates, Readings(members, candidates, words), np.arange(histories) % 2


def features(coordinates, readings):
    """One row for each reading, built entry by entry."""
    rows = []
    for history, clusters in zip(readings.histories, readings.candidates, strict=True):
        side = [1.0, *(sum(coordinates[c][d] for c in history) / len(history) for d in range(SIZE))]
        rows += [[s * g for s in side for g in (1.0, *coordinates[cluster])] for cluster in clusters]
    return np.array(rows)


def test_it_is_the_ridge_regression_with_the_best_penalty_on_the_other_half():
    coordinates, readings, folds = sampled(noise=1.0)
    forecast, left_out = fit_forecast(coordinates, readings, folds)
    x, read = features(coordinates, readings), np.concatenate(readings.words)
    fold = np.repeat(folds, [len(clusters) for clusters in readings.candidates])
    constant, expected = read.mean(axis=0), {}
    for penalty in PENALTIES:
        expected[penalty] = np.zeros(read.shape)
        for out in (0, 1):
            ridge = Ridge(penalty, fit_intercept=False).fit(x[fold != out], read[fold != out] - constant)
            expected[penalty][fold == out] = constant + ridge.predict(x[fold == out])
    best = min(PENALTIES, key=lambda penalty: ((expected[penalty] - read) ** 2).sum())
    np.testing.assert_allclose(np.concatenate(left_out), expected[best], rtol=1e-8)
    whole = Ridge(best, fit_intercept=False).fit(x, read - constant)
    found = np.concatenate(forecast(readings.histories, readings.candidates))
    np.testing.assert_allclose(found, constant + whole.predict(x), rtol=1e-8)


def test_what_is_bilinear_is_forecast():
    coordinates, readings, folds = sampled(noise=0.0, histories=400)
    _, left_out = fit_forecast(coordinates, readings, folds)
    read = np.concatenate(readings.words)
    assert np.abs(np.concatenate(left_out) - read).max() < 0.03 * read.std()


@pytest.fixture(scope="module")
def reader(tiny_model_folder):
    labels = [f"{first} {second}" for first in "abcdefgh" for second in "klmnop"]
    return CandidateReader(new_scoring_model(tiny_model_folder, 0, None), load_tokenizer(tiny_model_folder), labels)


def test_the_coordinates_are_the_main_directions_of_the_mean_states(reader):
    probes = [[0, 1], [5, 9]]
    found = label_coordinates(reader, probes)
    states = np.mean([reader.read([probe], [range(48)]).array() for probe in probes], axis=0)
    scaled = (states - states.mean(axis=0)) / states.std(axis=0)
    np.testing.assert_allclose((found**2).sum(axis=1).mean(), 1.0)
    products, expected = found @ found.T, scaled @ scaled.T
    if found.shape[1] == min(states.shape):  # all directions are kept, so that nothing is lost
        np.testing.assert_allclose(products / np.trace(products), expected / np.trace(expected), atol=1e-4)
    assert found.shape[1] <= 48
