"""vLLM's samples against the exact distributions, on a model of its own size in float32 (`make test-vllm`)."""

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import chisquare
from support.tuned import HISTORIES, LABELS, tune
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.candidates.candidate_pools import PoolSampler
from models.candidates.pool_engines import PoolOptions
from models.candidates.vllm_sampler import VllmSampler
from models.language.prompts import label_text, novelty_prompt, prompt_tokens
from models.novelty.label_distribution import label_distributions

pytestmark = pytest.mark.vllm

TEMPERATURE = 1.2
DRAWS = 4000
CHOSEN = [(0, 5), (1, 4), (2, 7)]
MOST_VARIATION = 0.05  # of 4,000 samples over 6 labels; by chance about 0.015


@pytest.fixture(scope="module")
def folder(vllm_model_folder, tmp_path_factory):
    return tune(vllm_model_folder, tmp_path_factory.mktemp("tuned") / "model")


@pytest.fixture
def opened():
    """Closes what is put there: the test process ends without farewell."""
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in things:
        thing.close()


def check_distribution(samples, distribution):
    """Counts of the labels among the valid samples against their probabilities."""
    counts = np.bincount(samples[samples >= 0], minlength=len(LABELS))
    assert (counts[distribution == 0] == 0).all()
    likely = distribution * counts.sum() >= 5
    expected = distribution[likely] / distribution[likely].sum() * counts[likely].sum()
    assert chisquare(counts[likely], expected).pvalue > 0.001
    assert np.abs(counts / counts.sum() - distribution).sum() / 2 < MOST_VARIATION


def test_free_samples_follow_the_exact_distribution(folder, opened):
    sampler = opened(VllmSampler(folder, LABELS, TEMPERATURE, structured=False))
    found = sampler.sample(CHOSEN, DRAWS, [5, 6, 7])
    distributions = label_distributions(folder, LABELS, CHOSEN, [TEMPERATURE])
    for samples, distribution, validity in zip(
        found, distributions.probabilities[0], distributions.format_validity[0], strict=True
    ):
        assert len(samples) == DRAWS
        check_distribution(samples, distribution)
        deviation = np.sqrt(validity * (1 - validity) / DRAWS)
        assert np.mean(samples >= 0) == pytest.approx(validity, abs=4 * deviation)


def spelling_distribution(folder, history):
    """Distribution of structured output by brute force: at every token, those that continue a label share the mass.

    A label may be spelled by other tokens than its own, so all texts that begin a label are followed.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [label_text(label).encode() for label in LABELS]
    pieces = [
        bytes(tokenizer.backend_tokenizer.decoder.decode([token]), "utf-8")
        for token in (tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    ]
    ids = prompt_tokens(tokenizer, novelty_prompt([LABELS[cluster] for cluster in history]))
    distribution = np.zeros(len(LABELS))

    def follow(tokens, text, mass):
        with torch.no_grad():
            logits = model(torch.tensor([[*ids, *tokens]])).logits[0, -1].double() / TEMPERATURE
        allowed = [
            token
            for token, piece in enumerate(pieces)
            if piece and token > tokenizer.eos_token_id and any(label.startswith(text + piece) for label in texts)
        ]
        ending = [tokenizer.eos_token_id] if text in texts else []
        shares = logits[allowed + ending].softmax(0).tolist()
        for token, share in zip(allowed, shares, strict=False):
            if mass * share > 1e-5:
                follow([*tokens, token], text + pieces[token], mass * share)
        if ending:
            distribution[texts.index(text)] += mass * shares[-1]

    follow([], b"", 1.0)
    distribution[list(history)] = 0.0
    return distribution / distribution.sum()


def test_structured_samples_follow_the_distribution_renormalised_at_each_token(
    vllm_model_folder, monkeypatch, tmp_path, opened
):
    """Of labels in plain letters: here a piece of text is a whole number of letters."""
    import support.tuned

    plain = [label if label.isascii() else "anime" for label in LABELS]
    monkeypatch.setattr(support.tuned, "LABELS", plain)
    monkeypatch.setitem(globals(), "LABELS", plain)
    folder = tune(vllm_model_folder, tmp_path / "model")
    sampler = opened(VllmSampler(folder, plain, TEMPERATURE, structured=True))
    found = sampler.sample(CHOSEN, DRAWS, [5, 6, 7])
    exact = label_distributions(folder, plain, CHOSEN, [TEMPERATURE]).probabilities[0]
    for history, samples, free_distribution in zip(CHOSEN, found, exact, strict=True):
        distribution = spelling_distribution(folder, history)
        check_distribution(samples, distribution)
        # Another distribution than that of free samples.
        assert np.abs(distribution - free_distribution).sum() / 2 > 0.001


@pytest.mark.parametrize("engine", ["vllm", "vllm_choice"])
def test_pools_hold_n_draws_of_at_least_k_clusters_outside_the_history(folder, engine, opened):
    sampler = PoolSampler(folder, LABELS, PoolOptions(engine, 9, 3, TEMPERATURE, most_left_out=0.01, seed=4))
    opened(sampler.engine.sampler)
    drawn = sampler.draw(HISTORIES[:28])
    grouped = drawn.candidates.group_by("history").agg(pl.col("cluster_id"), pl.col("draws").sum())
    assert grouped.height == drawn.distributions.height == 28
    for history, clusters, draws in grouped.iter_rows():
        assert not set(history) & set(clusters)
        assert len(clusters) == len(set(clusters)) >= 3
        assert draws >= 9
    assert drawn.distributions["format_validity"].max() <= 1


def test_a_history_that_yields_no_labels_is_named(vllm_model_folder, opened):
    sampler = PoolSampler(vllm_model_folder, LABELS, PoolOptions("vllm", 2, 3, TEMPERATURE, most_left_out=0.01, seed=0))
    opened(sampler.engine.sampler)
    with pytest.raises(ValueError, match=r"samples after the history \[0, 1\].*tune the novelty model"):
        sampler.draw([(0, 1)])
