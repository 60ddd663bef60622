"""Pools by the three engines: one distribution, the same pools however the histories are divided."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import chisquare
from support.tuned import HISTORIES, LABELS, tune

from models.candidates.candidate_pools import PoolSampler, format_validity, pool_figures, pool_memorisation
from models.candidates.pool_engines import PoolOptions, merge_draws
from models.novelty.label_distribution import label_distributions


@pytest.fixture(scope="module")
def folder(tiny_model_folder, tmp_path_factory):
    return tune(tiny_model_folder, tmp_path_factory.mktemp("tuned") / "model")


def options(engine, draws=15, distinct=3, most_left_out=0.01):
    return PoolOptions(engine, draws, distinct, temperature=1.2, most_left_out=most_left_out, seed=4)


@pytest.mark.parametrize("engine", ["exact", "pruned", "free"])
def test_shards_of_whole_micro_batches_give_the_same_pools(folder, engine):
    sampler = PoolSampler(folder, LABELS, options(engine))
    whole = sampler.draw(HISTORIES)
    size = sampler.micro_batch
    assert size < len(HISTORIES)
    parts = [sampler.draw(HISTORIES[:size]), sampler.draw(HISTORIES[size:])]
    assert whole.candidates.equals(pl.concat([part.candidates for part in parts]))
    assert whole.distributions.equals(pl.concat([part.distributions for part in parts]))


@pytest.mark.parametrize("engine", ["exact", "pruned", "free"])
def test_pools_hold_n_draws_of_at_least_k_clusters_outside_the_history(folder, engine):
    candidates = PoolSampler(folder, LABELS, options(engine, draws=4)).draw(HISTORIES[:28]).candidates
    grouped = candidates.group_by("history").agg(pl.col("cluster_id"), pl.col("draws").sum(), pl.col("draw_order"))
    assert grouped.height == 28
    for history, clusters, draws, order in grouped.iter_rows():
        assert not set(history) & set(clusters)
        assert len(clusters) == len(set(clusters)) >= 3
        assert draws >= 4
        assert sorted(order) == list(range(1, len(clusters) + 1))


@pytest.mark.parametrize("engine", ["pruned", "free"])
def test_draws_follow_the_exact_distribution(folder, engine):
    """Of one history, drawn once with many draws."""
    history = [(0, 5)]
    distribution = label_distributions(folder, LABELS, history, [1.2]).probabilities[0][0]
    found = PoolSampler(folder, LABELS, options(engine, draws=20_000, distinct=1, most_left_out=1e-4)).draw(history)
    counts = np.zeros(len(LABELS))
    counts[found.candidates["cluster_id"].to_numpy()] = found.candidates["draws"].to_numpy()
    others = distribution > 0
    assert counts.sum() == 20_000
    assert chisquare(counts[others], distribution[others] * 20_000).pvalue > 0.001
    probability = dict(found.candidates.select("cluster_id", "novelty_probability").iter_rows())
    np.testing.assert_allclose([probability[c] for c in probability], distribution[list(probability)], rtol=2e-3)


def test_what_is_left_out_is_told(folder):
    distributions = {}
    for engine in ("exact", "pruned", "free"):
        distributions[engine] = (
            PoolSampler(folder, LABELS, options(engine, most_left_out=0.2)).draw(HISTORIES[:28]).distributions
        )
    assert (distributions["exact"]["left_out"] == 0).all()
    assert (distributions["pruned"]["left_out"] <= 0.2).all()
    assert distributions["pruned"]["left_out"].max() > 0
    for engine in ("pruned", "free"):
        known = distributions[engine].with_columns(low=pl.col("format_validity") * (1 - pl.col("left_out")))
        exact = distributions["exact"]["format_validity"]
        assert (known["low"] <= exact + 1e-5).all()
        assert (exact <= distributions[engine]["format_validity"] + 1e-5).all()


@pytest.mark.parametrize("engine", ["exact", "pruned", "free"])
def test_where_mass_is_unknown_a_probability_is_a_lower_bound(folder, engine):
    drawn = PoolSampler(folder, LABELS, options(engine, most_left_out=0.2)).draw(HISTORIES[:28])
    exact = label_distributions(folder, LABELS, HISTORIES[:28], [1.2]).probabilities[0]
    rows = drawn.candidates.join(drawn.distributions.with_row_index("at"), on="history")
    for at, cluster, told, left_out, known, shares in rows.select(
        "at", "cluster_id", "novelty_probability", "left_out", "clusters", "probabilities"
    ).iter_rows():
        assert told <= exact[at, cluster] + 1e-5
        assert told == pytest.approx(shares[known.index(cluster)] * (1 - left_out))
    assert (drawn.distributions["left_out"].max() > 0.01) == (engine != "exact")


def test_an_untuned_model_whose_samples_are_no_labels_gets_whole_pools(tiny_model_folder):
    drawn = PoolSampler(tiny_model_folder, LABELS, options("free", draws=3, distinct=2)).draw(HISTORIES[:3])
    assert drawn.candidates.group_by("history").len()["len"].min() >= 2
    assert (drawn.distributions["left_out"] < 1e-6).all()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([3, -1, 3, 5, 6], ([3, 5], [2, 1])),  # three valid draws are enough: the fourth is not looked at
        ([3, 3, 3, -1, 7, 8], ([3, 7], [3, 1])),  # three draws of one cluster: the stream goes on to the next new one
        ([3, 3, -1, -1], None),
        ([3, 3, 3, 3], None),
    ],
)
def test_merging_by_hand(labels, expected):
    assert merge_draws(np.array(labels), draws=3, distinct=2) == expected


def test_figures_by_hand():
    candidates = pl.DataFrame({"cluster_id": [0, 1, 0], "draws": [2, 1, 1]})
    distributions = pl.DataFrame(
        {
            "format_validity": [0.8, 0.6],
            "format_validity_at_1": [0.9, 0.9],
            "left_out": [0.0, 0.01],
            "entropy": [1.0, 2.0],
        }
    )
    figures = pool_figures(candidates, distributions, clusters=4)
    assert figures["format_validity"] == pytest.approx(0.9)
    assert figures["format_validity_sampling"] == pytest.approx(0.7)
    assert (figures["left_out_at_most"], figures["entropy"]) == (0.01, 1.5)
    assert (figures["distinct_per_history"], figures["distinct_labels"], figures["top_label_share"]) == (1.5, 2, 0.75)


def test_format_validity_is_the_mean_over_the_histories(folder):
    exact = PoolSampler(folder, LABELS, options("exact")).draw(HISTORIES[:5]).distributions
    assert format_validity(folder, LABELS, HISTORIES[:5]) == pytest.approx(exact["format_validity_at_1"].mean())


def test_memorisation_of_pools_counts_draws_of_training_histories_alone():
    candidates = pl.DataFrame(
        {
            "history": [[0, 1], [0, 1], [2, 3], [4, 5]],
            "cluster_id": [7, 8, 7, 9],
            "draws": [3, 1, 5, 4],
        }
    )
    examples = pl.DataFrame(
        {
            "history": [[0, 1], [4, 5], [2, 3]],
            "cluster_id": [7, 8, 7],
            "split": ["train", "train", "holdout"],
        },
        schema_overrides={"history": pl.List(pl.Int32)},
    )
    # Of the 4 draws after [0, 1] three repeat its training pair, of the 4 after [4, 5] none; [2, 3] is held out.
    assert pool_memorisation(candidates, examples) == pytest.approx(3 / 8)


def test_options_without_sense_are_refused(tiny_model_folder):
    with pytest.raises(ValueError, match="at least 1"):
        PoolSampler(tiny_model_folder, LABELS, options("exact", draws=0))
