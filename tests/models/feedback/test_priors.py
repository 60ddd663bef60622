"""Priors and posteriors of rates: against scipy, numerical integration and simulation."""

from math import comb, log

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brute
from scipy.stats import beta, betabinom, binom
from support.cells import affine_cells, cells, simulated

from models.feedback.priors import (
    AffinityPrior,
    credible_interval,
    effective_impressions,
    fit_beta_prior,
    fit_cluster_priors,
    fit_concentration,
    log_likelihood,
    shrink,
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1)), min_size=1, max_size=8),
    st.floats(0.05, 0.95),
    st.floats(1, 99),
)
def test_likelihood_agrees_with_scipy(rows, mean, concentration):
    n = np.array([row[0] for row in rows])
    y = np.round(n * [row[1] for row in rows])
    expected = betabinom.logpmf(y, n, mean * concentration, (1 - mean) * concentration).sum()
    coefficients = sum(log(comb(int(a), int(b))) for a, b in zip(n, y, strict=True))
    assert log_likelihood(y, n, mean, concentration) + coefficients == pytest.approx(expected, abs=1e-8)


def test_fit_is_the_maximum_of_scipys_likelihood():
    n = np.array([20, 35, 50, 12, 80, 41])
    y = np.array([3, 14, 6, 5, 9, 22])
    prior = fit_beta_prior(y, n)

    def loss(parameters):
        mean, log_concentration = parameters
        return -betabinom.logpmf(y, n, mean * np.exp(log_concentration), (1 - mean) * np.exp(log_concentration)).sum()

    mean, log_concentration = brute(loss, ((0.05, 0.95), (-0.6, 8.0)), Ns=40)
    assert prior.mean == pytest.approx(mean, abs=1e-3)
    assert prior.concentration == pytest.approx(np.exp(log_concentration), rel=5e-3)
    assert prior.alpha + prior.beta == pytest.approx(prior.concentration)
    assert prior.note == ""


def test_fit_recovers_the_distribution_that_made_the_cells():
    y = betabinom.rvs(60, 3.0, 9.0, size=4000, random_state=1)
    prior = fit_beta_prior(y, np.full(4000, 60))
    assert prior.mean == pytest.approx(0.25, abs=0.01)
    assert prior.concentration == pytest.approx(12, rel=0.1)


def test_cells_that_differ_no_more_than_coin_flips_get_a_strong_prior():
    y = binom.rvs(200, 0.3, size=2000, random_state=2)
    assert fit_beta_prior(y, np.full(2000, 200)).concentration > 1000


@pytest.mark.parametrize(
    ("positives", "impressions", "mean", "concentration", "note"),
    [
        ([], [], 0.5, 2, "no cells"),
        ([0], [0], 0.5, 2, "no cells"),
        ([3], [9], 0.35, 10, "one cell"),
        ([3, 0], [9, 0], 0.35, 10, "one cell"),
        ([0, 0, 0], [10, 20, 29], 0.5 / 60, 10, "no positive"),
        ([10, 20], [10, 20], 30.5 / 31, 10, "nothing but positives"),
    ],
)
def test_degenerate_fits_say_what_they_assume(positives, impressions, mean, concentration, note):
    prior = fit_beta_prior(positives, impressions)
    assert prior.mean == pytest.approx(mean)
    assert prior.concentration == concentration
    assert note in prior.note


def test_a_concentration_is_assumed_for_one_cell_and_fitted_from_two_on():
    assert fit_concentration([3], [9], [0.3]) == 10
    found = fit_concentration([1, 8], [9, 9], [0.5, 0.5])
    grid = np.exp(np.linspace(-0.69, 5, 20_000))
    likelihoods = [log_likelihood([1, 8], [9, 9], 0.5, each) for each in grid]
    assert found == pytest.approx(grid[int(np.argmax(likelihoods))], rel=1e-3)
    assert fit_concentration([1], [9], [0.5], [2]) != 10  # two cells with these counts
    alike, apart = [10, 10, 10, 10], [0, 20, 0, 20]
    bounds = [fit_concentration(positives, [20] * 4, [0.5] * 4) for positives in (apart, alike)]
    assert bounds == pytest.approx([0.5, 100_000], rel=1e-3)


def test_the_maximum_is_found_to_the_fourth_digit():
    y, n = np.array([1, 6, 2, 9, 0, 4]), np.array([12, 14, 11, 18, 7, 15])
    prior = fit_beta_prior(y, n)
    best = log_likelihood(y, n, prior.mean, prior.concentration)
    for mean in (prior.mean * 0.9995, prior.mean * 1.0005):
        assert log_likelihood(y, n, mean, prior.concentration) < best
    for concentration in (prior.concentration * 0.999, prior.concentration * 1.001):
        assert log_likelihood(y, n, prior.mean, concentration) < best


@pytest.mark.parametrize("impressions", [15, 50, 400])
def test_cluster_priors_recover_the_two_levels(impressions):
    frame, cluster_rates, _ = simulated(impressions=impressions)
    priors = fit_cluster_priors(frame)
    assert priors.hyper_prior.mean == pytest.approx(0.2, abs=0.04)
    assert priors.concentration == pytest.approx(40, rel=0.25)
    assert np.corrcoef(priors.means(range(30)), cluster_rates)[0, 1] > 0.97
    assert priors.means([999])[0] == priors.hyper_prior.mean


def test_a_cluster_with_little_feedback_lies_nearer_the_hyper_prior():
    frame, _, _ = simulated()
    small = cells(([1, 2], 70, 5, 5, 5))
    large = cells(*(([1, 2], 71, 50, 50, 50) for _ in range(20)))
    priors = fit_cluster_priors(pl.concat([frame, small, large]))
    assert priors.hyper_prior.mean < priors.means([70])[0] < priors.means([71])[0] < 1


def test_shrunk_rate_and_interval_by_integration():
    frame, _, _ = simulated(clusters=5, cells_each=8, impressions=20)
    priors = fit_cluster_priors(frame)
    row = shrink(frame, np.ones(frame.height, bool), priors).row(3, named=True)
    a, b = priors.left_out[3] * priors.concentration, (1 - priors.left_out[3]) * priors.concentration

    def joint(p):
        return binom.pmf(row["positives"], row["impressions"], p) * beta.pdf(p, a, b)

    evidence = quad(joint, 0, 1)[0]
    assert row["shrunk_rate"] == pytest.approx(quad(lambda p: p * joint(p), 0, 1)[0] / evidence, rel=1e-6)
    assert quad(joint, 0, row["lower"])[0] / evidence == pytest.approx(0.05, abs=1e-6)
    assert quad(joint, row["upper"], 1)[0] / evidence == pytest.approx(0.05, abs=1e-6)


def test_shrinking_is_nearer_the_truth_and_intervals_cover_it():
    frame, _, rates = simulated(impressions=15, seed=3)
    scored = shrink(frame, np.ones(frame.height, bool), fit_cluster_priors(frame))
    errors = {
        name: np.mean((scored[name].to_numpy() - rates) ** 2) for name in ("raw_rate", "prior_rate", "shrunk_rate")
    }
    assert errors["shrunk_rate"] < 0.8 * min(errors["raw_rate"], errors["prior_rate"])
    covered = (scored["lower"].to_numpy() <= rates) & (rates <= scored["upper"].to_numpy())
    assert covered.mean() == pytest.approx(0.9, abs=0.03)


def test_a_cell_is_shrunk_towards_what_the_others_say_by_hand():
    frame = cells(
        *(([i, 90], c, n, n, y) for i, (c, n, y) in enumerate([(1, 10, 3), (1, 30, 6), (1, 20, 9), (2, 8, 4)]))
    )
    priors = fit_cluster_priors(frame)
    n, y = (frame[name].to_numpy().astype(float) for name in ("impressions", "positives"))
    weight = effective_impressions(n, fit_beta_prior(y, n).concentration)
    hyper = priors.hyper_prior
    of_first = hyper.alpha + weight[1] * 6 / 30 + weight[2] * 9 / 20
    np.testing.assert_allclose(priors.left_out[0], of_first / (hyper.concentration + weight[1] + weight[2]))
    assert priors.left_out[3] == pytest.approx(hyper.mean)  # it is its cluster's only cell
    shrunk = shrink(frame, np.array([True, True, True, True]), priors)["shrunk_rate"]
    kappa = priors.concentration
    np.testing.assert_allclose(shrunk, (kappa * priors.left_out + y) / (kappa + n))
    held_out = shrink(frame, np.array([True, True, True, False]), fit_cluster_priors(frame[:3]))  # a cluster not fitted
    assert held_out["prior_rate"][3] == fit_cluster_priors(frame[:3]).hyper_prior.mean


@settings(deadline=None, max_examples=20)
@given(st.integers(0, affine_cells().height - 1), st.integers(-4, 4))
def test_counts_of_a_cell_move_what_others_are_shrunk_towards_and_not_what_it_is_itself(row, change):
    frame = affine_cells()
    priors = fit_cluster_priors(frame)
    counts = frame["positives"].to_numpy().copy()
    counts[row] = np.clip(counts[row] + change, 0, frame["impressions"][row])
    assume(counts[row] != frame["positives"][row])
    before, after = (AffinityPrior(each, priors, 16) for each in (frame, frame.with_columns(positives=counts)))
    assert before.model.penalty == after.model.penalty
    assert after.left_out[row] == pytest.approx(before.left_out[row], abs=1e-12)
    assert np.abs(after.left_out - before.left_out).max() > 1e-5


def test_the_mean_of_a_cluster_is_that_of_its_effective_totals_and_the_hyper_prior():
    frame, _, _ = simulated(clusters=6, cells_each=5, impressions=12)
    priors = fit_cluster_priors(frame)
    strength = fit_beta_prior(frame["positives"].to_numpy(), frame["impressions"].to_numpy()).concentration
    for cluster, found in priors.cluster_means.items():
        own = frame.filter(pl.col("cluster_id") == cluster)
        effective = [n * (strength + 1) / (n + strength) for n in own["impressions"]]
        liked = sum(e * y / n for e, y, n in zip(effective, own["positives"], own["impressions"], strict=True))
        expected = (liked + priors.hyper_prior.alpha) / (sum(effective) + priors.hyper_prior.concentration)
        assert found == pytest.approx(expected)


def test_cells_that_were_not_fitted_shrink_towards_their_affinities_and_new_clusters_to_the_hyper_prior():
    frame = affine_cells().drop("true")
    new = pl.col("cluster_id") == 15
    held_out = (pl.col("history").list.sum() % 5 == 0) | new | pl.col("history").list.contains(15)
    frame = frame.with_columns(fitted=~held_out)
    fitted = frame.filter("fitted").drop("fitted")
    priors = fit_cluster_priors(fitted)
    affinities = AffinityPrior(fitted, priors, 16)
    shrunk = shrink(frame, frame["fitted"].to_numpy(), priors, affinities).filter(~pl.col("fitted"))
    least = priors.hyper_prior.mean / 10
    for row in shrunk.sample(60, seed=1).iter_rows(named=True):
        mean = priors.hyper_prior.mean
        if row["cluster_id"] != 15:
            ((score,),) = affinities.model.scores([row["history"]], [[row["cluster_id"]]])
            mean = min(max(float(score), least), 0.95)
        strength = affinities.concentration
        expected = (strength * mean + row["positives"]) / (strength + row["impressions"])
        assert row["shrunk_rate"] == pytest.approx(expected)
        assert row["raw_rate"] == pytest.approx(row["positives"] / row["impressions"])
    assert {15} < set(shrunk["cluster_id"])


def test_a_prior_mean_lies_between_a_tenth_of_the_hyper_priors_and_95_percent():
    liked = {31: 199, 32: 1, 33: 120}  # of 200 impressions after every history
    frame = cells(*(([a, 30], cluster, 200, 9, y) for a in range(30) for cluster, y in liked.items()))
    priors = fit_cluster_priors(frame)
    affinities = AffinityPrior(frame, priors, 34)
    asked = cells(*(([0, 1], cluster, 200, 9, 0) for cluster in liked))
    low, middle = priors.hyper_prior.mean / 10, affinities.model.scores([[0, 1]], [[33]])[0][0]
    assert affinities.means(asked) == pytest.approx([0.95, low, middle])


def test_effective_impressions_by_hand():
    np.testing.assert_allclose(effective_impressions(np.array([1.0, 9.0, 1e9]), 9.0), [1.0, 5.0, 10.0], rtol=1e-6)


magnitudes = st.floats(-20, 20).map(lambda exponent: 10.0**exponent)


@settings(deadline=None, max_examples=300)
@given(magnitudes, magnitudes)
@example(7.3e-5, 10.0)
@example(10.0, 7.3e-5)
@example(1e-20, 1e20)
@example(1e20, 1e-20)
def test_intervals_stand_in_order_within_the_rates_over_forty_orders_of_magnitude(alpha, betas):
    (lower,), (upper,) = credible_interval(np.array([alpha]), np.array([betas]))
    assert 0.0 <= lower <= upper <= 1.0
    if 0.5 < alpha < 1e4 and 0.5 < betas < 1e4:  # where scipy inverts it to that many digits
        assert beta.cdf([lower, upper], alpha, betas) == pytest.approx([0.05, 0.95], abs=1e-6)


any_cells = st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 1)), min_size=2, max_size=12)


@settings(deadline=None, max_examples=60)
@given(any_cells, st.sampled_from([0.0, 1.0, None]))
def test_cells_of_any_size_and_rate_shrink_to_an_interval(rows, share):
    counts = [(n, round(n * (part if share is None else share))) for n, part in rows]
    counted = cells(*(([1, 2], place % 3, n, n, y) for place, (n, y) in enumerate(counts)))
    shrunk = shrink(counted, np.ones(counted.height, bool), fit_cluster_priors(counted))
    within = (pl.col("lower") >= 0) & (pl.col("lower") <= pl.col("upper")) & (pl.col("upper") <= 1)
    assert shrunk.filter(within).height == len(rows)
