"""Users: parts of taste and their shares of variance, sessions per day, and the bond between the two."""

import numpy as np
import pytest
from scipy import stats

from models.arena.population import (
    OWN_DEVIATION,
    SHARED_SHARE,
    VISITS_LOG_MEAN,
    VISITS_LOG_SPREAD,
    VISITS_RANGE,
    make_population,
)
from models.arena.topics import attribute_matrix, load_topics


def attributes(size):
    return attribute_matrix(*load_topics(size))


def span_of(described):
    """An orthonormal basis [topics, d] of what the attributes can tell apart."""
    left, strength, _ = np.linalg.svd(described - described.mean(axis=0), full_matrices=False)
    return left[:, strength > 1e-9]


def test_the_same_seed_gives_the_same_users_and_another_seed_others():
    one, same, other = (make_population(attributes(24), 50, 0.5, 0.3, seed) for seed in (1, 1, 2))
    assert (one.tastes == same.tastes).all()
    assert (one.sessions_per_day == same.sessions_per_day).all()
    assert not np.allclose(one.tastes, other.tastes)
    assert not np.allclose(one.sessions_per_day, other.sessions_per_day)


@pytest.mark.parametrize("size", [96, 768])
@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
def test_taste_has_zero_mean_and_about_unit_variance_beside_what_is_each_users_own(mix, size):
    tastes = make_population(attributes(size), 5_000, mix, 0.0, seed=4).tastes
    assert abs(tastes.mean()) < 0.01
    # Where both halves have a share, what all like in the one may lean on what all like in the other.
    lean = 2 * np.sqrt(mix * (1 - mix)) * SHARED_SHARE
    assert abs(tastes.var() - 1 - OWN_DEVIATION**2) < 0.01 + 4 * lean / np.sqrt(size)


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_the_population_shares_a_quarter_of_each_half_of_taste(mix):
    users = 20_000
    tastes = make_population(attributes(48), users, mix, 0.0, seed=2).tastes
    # The mean over users leaves what all like; of the cross term with the mean of the rest, four standard errors.
    assert abs(tastes.mean(axis=0).var() - SHARED_SHARE) < 4 * 2 * np.sqrt(SHARED_SHARE / users)


@pytest.mark.parametrize("size", [96, 768])
def test_without_mix_all_but_each_users_own_deviation_lies_within_the_span_of_the_attributes(size):
    described = attributes(size)
    span = span_of(described)
    tastes = make_population(described, 2_000, 0.0, 0.0, seed=1).tastes.astype(np.float64)
    tastes -= tastes.mean(axis=1, keepdims=True)
    outside = tastes - tastes @ span @ span.T
    freedom = len(tastes) * (size - 1 - span.shape[1])
    square_sum = (outside**2).sum() / OWN_DEVIATION**2
    assert 0.0005 < stats.chi2(freedom).cdf(square_sum) < 0.9995
    basis = np.linalg.svd(np.column_stack([span, np.ones(size)]))[0][:, span.shape[1] + 1 :]
    assert stats.kstest((tastes @ basis).ravel() / OWN_DEVIATION, "norm").pvalue > 0.001


@pytest.mark.parametrize("mix", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_mix_is_the_share_of_variance_that_contradicts_the_words(mix):
    """Share of the variance within the span of the attributes: all of the words' part, by chance d/95 of the other.

    The other part has five directions of its own (the appeal, four affinities), so its share varies between seeds:
    the variance of the share of one direction within d of 95 dimensions is that of a beta distribution.
    """
    described, seeds = attributes(96), range(8)
    span = span_of(described)
    shares = []
    for seed in seeds:
        tastes = make_population(described, 1_000, mix, 0.0, seed).tastes.astype(np.float64)
        tastes -= tastes.mean(axis=1, keepdims=True)
        within = ((tastes @ span) ** 2).sum() - len(tastes) * span.shape[1] * OWN_DEVIATION**2
        shares.append(within / ((tastes**2).sum() - len(tastes) * 95 * OWN_DEVIATION**2))
    by_chance = stats.beta(span.shape[1] / 2, (95 - span.shape[1]) / 2)
    weights = np.array([SHARED_SHARE] + [(1 - SHARED_SHARE) / 4] * 4)
    # What all like in either part may lean on each other within the span: at most 2 sqrt(mix (1 - mix)) / 4 x cosine.
    lean = 2 * np.sqrt(mix * (1 - mix)) * SHARED_SHARE / np.sqrt(95)
    error = np.hypot(mix * by_chance.std() * np.linalg.norm(weights), lean) / np.sqrt(len(seeds))
    assert abs(np.mean(shares) - (1 - mix + mix * by_chance.mean())) < 4 * error + 0.01


@pytest.mark.parametrize("size", [96, 768])
def test_likings_are_few_and_strong(size):
    """Weights on attributes are Laplace: their excess kurtosis is 3, that of a normal distribution 0."""
    described = attributes(size)
    tastes = make_population(described, 4_000, 0.0, 0.0, seed=6).tastes
    centred = (described - described.mean(axis=0)) / described.std(axis=0)
    weights = np.linalg.lstsq(centred, (tastes - tastes.mean(axis=0)).T, rcond=None)[0]
    # The deviations add a little normal noise to each weight.
    assert 2 < stats.kurtosis(weights.ravel()) < 3.5


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_sessions_per_day_are_log_normal_within_their_range(correlation):
    users = 20_000
    visits = make_population(attributes(24), users, 0.5, correlation, seed=3).sessions_per_day
    lowest, highest = VISITS_RANGE
    assert visits.min() >= lowest
    assert visits.max() == highest
    usual = stats.norm(VISITS_LOG_MEAN, VISITS_LOG_SPREAD)
    assert stats.binomtest(int((visits == highest).sum()), users, usual.sf(np.log(highest))).pvalue > 0.001
    assert stats.binomtest(int((visits == lowest).sum()), users, usual.cdf(np.log(lowest))).pvalue > 0.001
    if correlation == 0:  # else taste, which is not quite normal, is in it
        inside = np.log(visits[(visits > lowest) & (visits < highest)])
        ends = (np.log(VISITS_RANGE) - VISITS_LOG_MEAN) / VISITS_LOG_SPREAD
        assert stats.kstest(inside, stats.truncnorm(*ends, VISITS_LOG_MEAN, VISITS_LOG_SPREAD).cdf).pvalue > 0.001


def test_half_of_the_sessions_are_a_fifth_of_the_users():
    visits = np.sort(make_population(attributes(24), 20_000, 0.5, 0.0, seed=3).sessions_per_day)
    assert 0.45 < visits[-len(visits) // 5 :].sum() / visits.sum() < 0.55


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.8, -0.8])
def test_activity_goes_with_the_liking_for_one_direction_of_taste_as_told(correlation):
    """The direction is not kept, but the best linear guess of log sessions from tastes finds it."""
    users, topics = 20_000, 24
    population = make_population(attributes(topics), users, 0.5, correlation, seed=8)
    tastes = population.tastes - population.tastes.mean(axis=0)
    log_visits = np.log(population.sessions_per_day)
    log_visits -= log_visits.mean()
    guess = tastes @ np.linalg.lstsq(tastes, log_visits, rcond=None)[0]
    explained = guess.var() / log_visits.var()
    if correlation == 0:  # 24 useless columns explain 24 / users, chi-squared
        assert 0.0005 < stats.chi2(topics).cdf(explained * users) < 0.9995
    else:
        # Clipping the sessions takes a little of the correlation; its standard error is (1 - r^2) / sqrt(users).
        assert abs(np.sqrt(explained) - abs(correlation)) < 0.01 + 4 * (1 - correlation**2) / np.sqrt(users)


def test_opposite_correlations_are_opposite():
    strong = [make_population(attributes(24), 2_000, 0.5, correlation, 8) for correlation in (1.0, -1.0)]
    assert (strong[0].tastes == strong[1].tastes).all()
    assert np.corrcoef(*(np.log(population.sessions_per_day) for population in strong))[0, 1] < -0.98
