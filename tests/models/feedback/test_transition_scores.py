"""Filter, shrink, normalise, round: against scipy, numerical integration and simulation."""

from dataclasses import replace
from itertools import combinations
from math import comb, log

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brute
from scipy.stats import beta, betabinom, binom, norm

from models.feedback.transition_scores import (
    Normalisation,
    ScoreOptions,
    effective_impressions,
    filter_cells,
    fit_beta_prior,
    fit_cluster_priors,
    lift_scores,
    log_likelihood,
    normalise_scores,
    posterior_interval,
    quantile_scores,
    round_to_interval,
    shrink,
    split_histories,
    transition_scores,
    z_scores,
)

SCHEMA = {
    "history": pl.List(pl.Int64),
    "cluster_id": pl.Int64,
    "impressions": pl.Int64,
    "users": pl.Int64,
    "positives": pl.Int64,
}
OPEN = ScoreOptions(minimum_impressions=1, minimum_users=1, minimum_share_of_mean=0.0)


def cells(*rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def simulated(clusters=30, cells_each=40, impressions=50, mean=0.2, tau=20.0, kappa=40.0, seed=0):
    """Cells under the two-level law that the priors assume, with the true rates of clusters and cells."""
    generator = np.random.default_rng(seed)
    cluster_rates = generator.beta(mean * tau, (1 - mean) * tau, clusters)
    owner = np.repeat(np.arange(clusters), cells_each)
    rates = generator.beta(cluster_rates[owner] * kappa, (1 - cluster_rates[owner]) * kappa)
    positives = generator.binomial(impressions, rates)
    frame = cells(
        *(
            ([100 + i, 500 + i], int(c), impressions, impressions, int(y))
            for i, (c, y) in enumerate(zip(owner, positives, strict=True))
        )
    )
    return frame, cluster_rates, rates


def test_filter_by_hand():
    frame = cells(([1, 2], 3, 100, 50, 10), ([1, 2], 4, 12, 9, 1), ([1, 2], 5, 11, 11, 1), ([1, 2], 6, 37, 2, 1))
    result = filter_cells(frame, minimum_impressions=5, minimum_users=3, minimum_share_of_mean=0.3)
    assert result.minimum_impressions == 12  # 0.3 times the mean of 40
    assert result.kept["cluster_id"].to_list() == [3, 4]
    assert result.cell_share == 0.5
    assert result.impression_share == pytest.approx(112 / 160)


def test_the_bar_scales_with_the_log_above_its_floor():
    frame, _, _ = simulated(clusters=3, cells_each=2)
    tenfold = frame.with_columns(pl.col("impressions", "users", "positives") * 10)
    bars = [filter_cells(log, 10, 1, 0.5).minimum_impressions for log in (frame, tenfold, frame.head(0))]
    assert bars == [25, 250, 10]


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


def test_fit_recovers_the_law_that_made_the_cells():
    y = betabinom.rvs(60, 3.0, 9.0, size=4000, random_state=1)
    prior = fit_beta_prior(y, np.full(4000, 60))
    assert prior.mean == pytest.approx(0.25, abs=0.01)
    assert prior.concentration == pytest.approx(12, rel=0.1)


def test_cells_that_differ_no_more_than_coin_flips_get_a_strong_prior():
    y = binom.rvs(200, 0.3, size=2000, random_state=2)
    assert fit_beta_prior(y, np.full(2000, 200)).concentration > 1000


@pytest.mark.parametrize(
    ("positives", "impressions", "mean", "note"),
    [
        ([], [], 0.5, "no cells"),
        ([0], [0], 0.5, "no cells"),
        ([3], [9], 0.35, "one cell"),
        ([0, 0, 0], [10, 20, 29], 0.5 / 60, "no positive"),
        ([10, 20], [10, 20], 30.5 / 31, "nothing but positives"),
    ],
)
def test_degenerate_fits_say_what_they_assume(positives, impressions, mean, note):
    prior = fit_beta_prior(positives, impressions)
    assert prior.mean == pytest.approx(mean)
    assert note in prior.note


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
    row = shrink(frame, priors).row(3, named=True)
    a, b = row["prior_rate"] * priors.concentration, (1 - row["prior_rate"]) * priors.concentration

    def joint(p):
        return binom.pmf(row["positives"], row["impressions"], p) * beta.pdf(p, a, b)

    evidence = quad(joint, 0, 1)[0]
    assert row["shrunk_rate"] == pytest.approx(quad(lambda p: p * joint(p), 0, 1)[0] / evidence, rel=1e-6)
    assert quad(joint, 0, row["lower"])[0] / evidence == pytest.approx(0.05, abs=1e-6)
    assert quad(joint, row["upper"], 1)[0] / evidence == pytest.approx(0.05, abs=1e-6)


def test_shrinking_is_nearer_the_truth_and_intervals_cover_it():
    frame, _, rates = simulated(impressions=15, seed=3)
    scored = shrink(frame, fit_cluster_priors(frame))
    errors = {
        name: np.mean((scored[name].to_numpy() - rates) ** 2) for name in ("raw_rate", "prior_rate", "shrunk_rate")
    }
    assert errors["shrunk_rate"] < 0.8 * min(errors["raw_rate"], errors["prior_rate"])
    covered = (scored["lower"].to_numpy() <= rates) & (rates <= scored["upper"].to_numpy())
    assert covered.mean() == pytest.approx(0.9, abs=0.03)


def test_quantile_by_hand():
    reference, weights = np.array([0.1, 0.3, 0.3, 0.6]), np.array([10.0, 20.0, 40.0, 30.0])
    values = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.9])
    # Mid-ranks: 0.1 -> 5, 0.3 -> 10 + 30, 0.6 -> 70 + 15, of 100; 0.2 lies half way.
    np.testing.assert_allclose(quantile_scores(values, reference, weights), [0.05, 0.05, 0.225, 0.4, 0.85, 0.85])


counted = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 80), st.floats(0, 1)).map(lambda t: (t[0], t[1], round(t[1] * t[2]))),
    min_size=1,
    max_size=25,
)


@settings(deadline=None)
@given(counted, st.sampled_from(["quantile", "rate"]), st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.3, 1.0]))
def test_scores_are_bounded_monotone_and_on_the_grid(rows, method, interval):
    frame = cells(*(([10 + i, 90 + i], c, n, n, y) for i, (c, n, y) in enumerate(rows)))
    options = ScoreOptions(1, 0.0, 1, method=method, interval=interval)
    scores = transition_scores(frame, options).scores
    assert scores["score"].is_between(0, 1).all()
    assert scores.filter(
        (pl.col("lower") > pl.col("shrunk_rate")) | (pl.col("shrunk_rate") > pl.col("upper"))
    ).is_empty()
    ordered = scores.sort("shrunk_rate")["score"].to_numpy()
    assert (np.diff(ordered) >= 0).all()
    steps = scores["score"].to_numpy() / interval
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)


@settings(deadline=None)
@given(counted)
def test_the_quantile_map_has_mean_one_half_over_impressions(rows):
    rates, weights = np.array([y / n for _, n, y in rows]), np.array([float(n) for _, n, _ in rows])
    assert np.average(quantile_scores(rates, rates, weights), weights=weights) == pytest.approx(0.5)


@settings(deadline=None)
@given(counted)
def test_the_quantile_map_ignores_the_scale_of_the_signal(rows):
    rates, weights = np.array([y / n for _, n, y in rows]), np.array([float(n) for _, n, _ in rows])
    assume(len(set(rates)) > 1)
    squared = rates**2
    assume(len(set(squared)) == len(set(rates)))
    np.testing.assert_allclose(quantile_scores(squared, squared, weights), quantile_scores(rates, rates, weights))


def test_rounding_by_hand():
    scores = np.array([0.0, 0.024, 0.025, 0.074, 0.075, 0.976, 1.0])
    assert round_to_interval(scores, 0.05).tolist() == [0.0, 0.0, 0.05, 0.05, 0.1, 1.0, 1.0]


@pytest.mark.parametrize("interval", [0.0, -0.1, 1.5])
def test_an_interval_out_of_range_is_refused(interval):
    with pytest.raises(ValueError, match="interval"):
        round_to_interval(np.array([0.5]), interval)


def test_an_unknown_method_and_an_empty_reference_are_refused():
    with pytest.raises(ValueError, match="unknown normalisation 'zscore'"):
        Normalisation("zscore", np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="no reference"):
        Normalisation("quantile", np.zeros(0), np.zeros(0))


@pytest.mark.parametrize(
    ("frame", "note"),
    [
        (cells(), "no cells"),
        (cells(([1, 2], 3, 20, 20, 8)), "one cell"),
        (cells(([1, 2], 3, 20, 20, 0), ([1, 2], 4, 30, 30, 0)), "no positive"),
        (cells(([1, 2], 3, 2, 2, 1)), "none of 1 cells"),
    ],
)
def test_degenerate_logs_work_and_say_so(frame, note):
    result = transition_scores(frame, ScoreOptions())
    assert any(note in line for line in result.notes)
    assert result.scores.columns == [*SCHEMA, "raw_rate", "prior_rate", "shrunk_rate", "lower", "upper", "score"]
    assert result.scores["score"].is_finite().all()


def test_a_sound_log_has_no_notes():
    assert transition_scores(simulated()[0], ScoreOptions()).notes == []


def test_held_out_rows_do_not_move_training_scores():
    frame, _, _ = simulated(clusters=4, cells_each=10)
    frame = frame.with_columns(
        split=pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    changed = frame.with_columns(
        positives=pl.when(pl.col("split") == "test").then(pl.col("impressions")).otherwise(pl.col("positives"))
    )
    before, after = (transition_scores(log, OPEN).scores.filter(pl.col("split") == "train") for log in (frame, changed))
    assert before.equals(after)


def test_the_order_of_cells_does_not_move_scores():
    frame, _, _ = simulated(clusters=4, cells_each=5)
    one, other = transition_scores(frame, OPEN).scores, transition_scores(frame.reverse(), OPEN).scores.reverse()
    np.testing.assert_allclose(one["shrunk_rate"], other["shrunk_rate"], rtol=1e-5)


@pytest.mark.parametrize("row", [([1, 2], 3, 5, 5, 6), ([1, 2], 3, 5, 5, -1)])
def test_impossible_counts_are_refused(row):
    with pytest.raises(ValueError, match="more positives than impressions"):
        transition_scores(cells(row), OPEN)


def test_splits_have_their_shares_and_do_not_depend_on_company():
    histories = [[a, b] for a in range(60) for b in range(a)]
    splits = split_histories(histories, 0.1, 0.2, seed=4)
    assert splits.count("validation") / len(splits) == pytest.approx(0.1, abs=0.03)
    assert splits.count("test") / len(splits) == pytest.approx(0.2, abs=0.03)
    assert split_histories([histories[7][::-1]], 0.1, 0.2, seed=4) == [splits[7]]
    assert split_histories(histories, 0.1, 0.2, seed=5) != splits
    with pytest.raises(ValueError, match="no history to train on"):
        split_histories(histories, 0.5, 0.5, seed=0)


def test_z_scores_by_hand_and_as_scipy_has_them():
    reference, weights = np.array([0.1, 0.3]), np.array([3.0, 1.0])  # mean 0.15, deviation 0.0866
    spread = np.sqrt((3 * 0.05**2 + 0.15**2) / 4)
    expected = norm.cdf((np.array([0.15, 0.3]) - 0.15) / spread)
    np.testing.assert_allclose(z_scores(np.array([0.15, 0.3]), reference, weights), expected)
    assert z_scores(np.array([0.2]), np.array([0.1]), np.array([5.0])).tolist() == [0.5]


def test_lift_by_hand():
    rates, priors = np.array([0.1, 0.2, 0.9, 0.0]), np.array([0.1, 0.1, 0.1, 0.5])
    np.testing.assert_allclose(lift_scores(rates, priors), [0.25, 0.5, 1.0, 0.0])


def test_lift_times_the_prior_ranks_as_the_rate_does():
    rng = np.random.default_rng(0)
    priors = rng.uniform(0.1, 0.5, 50)
    rates = priors * rng.uniform(0.2, 3.9, 50)
    np.testing.assert_allclose(lift_scores(rates, priors) * priors * 4, rates)


@pytest.mark.parametrize(("width", "interval"), [(0.0, 0.01), (0.05, 0.02), (0.1, 0.05), (0.39, 0.1), (0.9, 0.2)])
def test_the_rounding_stays_within_half_of_what_the_feedback_leaves_open(width, interval):
    assert posterior_interval(np.full(3, 0.05), np.full(3, 0.05 + width)) == interval


@pytest.mark.parametrize("method", ["quantile", "rate", "z_score", "lift"])
def test_every_method_scores_between_0_and_1_and_rises_within_a_cluster(method):
    frame = cells(*(([10 + i, 90 + i], i % 3, 40, 40, y) for i, y in enumerate([0, 4, 9, 13, 20, 31, 40, 2, 8])))
    scored = transition_scores(frame, ScoreOptions(1, 0.0, 1, method=method, interval=None))
    assert scored.scores["score"].is_between(0, 1).all()
    assert scored.interval in (0.01, 0.02, 0.05, 0.1, 0.2)
    for _, cluster in scored.scores.group_by("cluster_id"):
        assert cluster.sort("shrunk_rate")["score"].is_sorted()


@pytest.mark.parametrize("method", ["quantile", "rate", "z_score", "lift"])
@pytest.mark.parametrize("interval", [0.05, None])
def test_normalising_anew_equals_scoring_anew_and_changes_nothing_else(method, interval):
    frame, _, _ = simulated(clusters=6, cells_each=12)
    splits = split_histories(frame["history"].to_list(), 0.2, 0.2, seed=1)
    frame = frame.with_columns(pl.Series("split", splits), (pl.col("cluster_id") == 2).alias("unseen"))
    standing = transition_scores(frame, OPEN).scores
    expected = transition_scores(frame, replace(OPEN, method=method, interval=interval))
    again, rounding = normalise_scores(standing, method, interval)
    assert again.equals(expected.scores)
    assert rounding == expected.interval
    assert again.drop("score").equals(standing.drop("score"))


def affine_cells(seed=0, histories=None):
    """Cells of all pairs of 16 clusters whose rates follow cluster and members, 12 impressions each on average."""
    generator = np.random.default_rng(seed)
    bias, affinity = generator.uniform(0.1, 0.4, 16), generator.normal(0, 0.06, (16, 16))
    rows = []
    for a, b in combinations(range(16), 2):
        for cluster in set(range(16)) - {a, b}:
            true = float(np.clip(bias[cluster] + affinity[a, cluster] + affinity[b, cluster], 0.02, 0.9))
            impressions = int(generator.integers(4, 20))
            rows.append(([a, b], cluster, impressions, impressions, int(generator.binomial(impressions, true)), true))
    columns = ["history", "cluster_id", "impressions", "users", "positives", "true"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def test_affinities_bring_shrunken_rates_nearer_to_the_truth():
    frame = affine_cells()
    found = {}
    for prior in ("cluster", "affinity"):
        scores = transition_scores(frame, replace(OPEN, prior=prior)).scores
        found[prior] = float(np.abs(scores["shrunk_rate"] - frame["true"]).mean())
        inside = (scores["lower"] <= frame["true"]) & (frame["true"] <= scores["upper"])
        assert 0.84 < inside.mean() < 0.96, prior
    assert found["affinity"] < 0.75 * found["cluster"]


def test_affinities_are_learned_from_training_cells_alone():
    frame = affine_cells().with_columns(
        split=pl.when(pl.col("history").list.sum() % 4 == 0).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    turned = frame.with_columns(
        positives=pl.when(pl.col("split") == "test")
        .then(pl.col("impressions") - pl.col("positives"))
        .otherwise("positives")
    )
    first, second = (transition_scores(cells, replace(OPEN, prior="affinity")).scores for cells in (frame, turned))
    training = pl.col("split") == "train"
    assert first.filter(training)["shrunk_rate"].equals(second.filter(training)["shrunk_rate"])


def test_where_members_say_nothing_affinities_are_the_cluster_prior():
    generator = np.random.default_rng(4)
    frame = affine_cells().with_columns(
        positives=pl.Series([int(generator.binomial(n, 0.05 + 0.02 * c)) for n, c in
                             affine_cells().select("impressions", "cluster_id").iter_rows()])
    )  # fmt: skip
    by_cluster, by_affinity = (transition_scores(frame, replace(OPEN, prior=p)).scores for p in ("cluster", "affinity"))
    difference = (by_cluster["shrunk_rate"] - by_affinity["shrunk_rate"]).abs()
    assert difference.mean() < 0.03


def test_few_histories_are_shrunk_towards_their_clusters():
    frame = affine_cells().filter(pl.col("history").list.sum() <= 3)
    found = transition_scores(frame, replace(OPEN, prior="affinity"))
    assert found.scores.equals(transition_scores(frame, OPEN).scores)
    assert "fewer than 5 histories" in found.notes[-1]


def test_effective_impressions_by_hand():
    np.testing.assert_allclose(effective_impressions(np.array([1.0, 9.0, 1e9]), 9.0), [1.0, 5.0, 10.0], rtol=1e-6)
