"""The label distribution against brute force: every label of every history scored alone, in float32."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.language.label_trie import label_trie
from models.language.prompts import label_tokens, novelty_prompt, prompt_tokens
from models.novelty.label_distribution import histories_per_pass, label_distributions, renormalise

# One label is a prefix of another in letters and in tokens, one has several bytes per letter, two begin alike.
LABELS = ["card", "card, board", "cards", "日本 anime", "jazz, piano", "jazz"]
HISTORIES = [[0, 4], [1, 2], [3, 5], [5, 0]]
TEMPERATURES = [1.0, 2.0, 0.6]


def brute_force(folder, history, temperature):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = prompt_tokens(tokenizer, novelty_prompt([LABELS[cluster] for cluster in sorted(history)]))
    masses = np.zeros(len(LABELS))
    for cluster, tokens in enumerate(label_tokens(tokenizer, LABELS)):
        if cluster in history:
            continue
        text = [*prompt, *tokens, tokenizer.eos_token_id]
        with torch.no_grad():
            steps = (model(torch.tensor([text])).logits[0].double() / temperature).log_softmax(-1)
        masses[cluster] = np.exp(sum(steps[at - 1, text[at]].item() for at in range(len(prompt), len(text))))
    return masses / masses.sum(), masses.sum()


def test_exact_distribution_equals_brute_force(tiny_model_folder):
    result = label_distributions(tiny_model_folder, LABELS, HISTORIES, TEMPERATURES)
    for row, temperature in enumerate(TEMPERATURES):
        for column, history in enumerate(HISTORIES):
            expected, validity = brute_force(tiny_model_folder, history, temperature)
            np.testing.assert_allclose(result.probabilities[row, column], expected, atol=1e-4)
            np.testing.assert_allclose(np.log(result.format_validity[row, column]), np.log(validity), atol=1e-4)


def test_rows_sum_to_one_and_the_history_itself_is_exactly_zero(tiny_model_folder):
    result = label_distributions(tiny_model_folder, LABELS, HISTORIES, TEMPERATURES)
    np.testing.assert_allclose(result.probabilities.sum(-1), 1.0, atol=1e-12)
    for column, history in enumerate(HISTORIES):
        others = [cluster for cluster in range(len(LABELS)) if cluster not in history]
        assert (result.probabilities[:, column, history] == 0.0).all()
        assert (result.probabilities[:, column, others] > 0.0).all()


def test_a_history_is_a_set(tiny_model_folder):
    forward = label_distributions(tiny_model_folder, LABELS, [[0, 4]], [1.0])
    backward = label_distributions(tiny_model_folder, LABELS, [[4, 0]], [1.0])
    assert np.array_equal(forward.probabilities, backward.probabilities)


def test_shards_of_whole_micro_batches_give_the_same_numbers(tiny_model_folder):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    size = histories_per_pass(label_trie(label_tokens(tokenizer, LABELS)))
    histories = [[first, second] for first in range(6) for second in range(first + 1, 6)] * 3
    whole = label_distributions(tiny_model_folder, LABELS, histories, TEMPERATURES)
    shards = [
        label_distributions(tiny_model_folder, LABELS, part, TEMPERATURES)
        for part in (histories[:size], histories[size : 2 * size], histories[2 * size :])
    ]
    assert 2 * size < len(histories)
    assert np.array_equal(whole.probabilities, np.concatenate([shard.probabilities for shard in shards], axis=1))
    assert np.array_equal(whole.format_validity, np.concatenate([shard.format_validity for shard in shards], axis=1))


def test_renormalising_by_hand():
    masses = np.array([[[0.2, 0.1, 0.3, 0.05]]])
    result = renormalise(np.log(masses), [[2]])
    np.testing.assert_allclose(result.probabilities, [[[0.2 / 0.35, 0.1 / 0.35, 0.0, 0.05 / 0.35]]])
    np.testing.assert_allclose(result.format_validity, [[0.35]])


def test_renormalising_survives_masses_below_the_smallest_number():
    result = renormalise(np.array([[[-2000.0, -2000.0 + np.log(3), -1.0]]]), [[2]])
    np.testing.assert_allclose(result.probabilities, [[[0.25, 0.75, 0.0]]])
    assert result.format_validity.tolist() == [[0.0]]


def test_a_history_of_all_clusters_leaves_nothing():
    with pytest.raises(ValueError, match="names every cluster"):
        renormalise(np.zeros((1, 1, 2)), [[0, 1]])


@pytest.mark.parametrize(
    ("histories", "temperatures", "message"),
    [([[0, 0]], [1.0], "twice"), ([[0, 9]], [1.0], "cluster 9"), ([[0, 1]], [0.0], "must be positive")],
)
def test_malformed_requests_are_named(tiny_model_folder, histories, temperatures, message):
    with pytest.raises(ValueError, match=message):
        label_distributions(tiny_model_folder, LABELS, histories, temperatures)


def test_progress_counts_histories(tiny_model_folder, monkeypatch):
    monkeypatch.setattr("models.progress.Progress.advance", lambda self, units, note="": self.log(f"{units}"))
    lines = []
    label_distributions(tiny_model_folder, LABELS, [[0, 1]] * 20, [1.0], lines.append)
    assert sum(map(int, lines)) == 20


def test_micro_batches_shrink_as_the_trie_grows():
    small = label_trie([[1], [2]])
    large = label_trie([[label, position] for label in range(40) for position in range(100)])
    assert histories_per_pass(small) == 16
    assert histories_per_pass(large) == 1
