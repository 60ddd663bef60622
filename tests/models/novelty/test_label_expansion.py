"""The expanded label distribution against the exact one, which other tests check against brute force."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from models.novelty.label_distribution import label_log_probabilities, renormalise
from models.novelty.label_expansion import Expansion, LabelExpander, at_least, drawn_labels, heaviest, hit

# Labels that are prefixes of others, in letters and in tokens; several bytes per letter; like beginnings.
LABELS = ["card", "card, board", "cards", "日本 anime", "jazz, piano", "jazz", "jazz, piano, trio", "wild life", "wild"]
HISTORIES = [[first, second] for first in range(9) for second in range(first + 1, 9)]
TEMPERATURE = 1.5


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder):
    return AutoTokenizer.from_pretrained(tiny_model_folder)


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


def exact(model, tokenizer, labels=LABELS, histories=HISTORIES):
    """[histories, labels] masses at the temperature, own labels at 0."""
    distribution = renormalise(label_log_probabilities(model, tokenizer, labels, histories, [TEMPERATURE]), histories)
    return distribution.probabilities[0] * distribution.format_validity[0][:, None]


def test_reading_everything_gives_the_exact_distribution(model, tokenizer):
    expansion = LabelExpander(model, tokenizer, LABELS, TEMPERATURE).open(HISTORIES[:30])
    expansion.grow(heaviest(0.0))
    np.testing.assert_allclose(expansion.label_mass, exact(model, tokenizer)[:30], rtol=1e-3)
    assert (expansion.left_out() == 0).all()


@pytest.mark.parametrize("most", [0.5, 0.1, 0.01])
def test_pruned_masses_are_exact_where_known_and_the_bound_holds(model, tokenizer, most):
    expansion = LabelExpander(model, tokenizer, LABELS, TEMPERATURE).open(HISTORIES[:30])
    expansion.grow(heaviest(most))
    expected = exact(model, tokenizer)[:30]
    known = expansion.label_mass > 0
    np.testing.assert_allclose(expansion.label_mass[known], expected[known], rtol=1e-3)
    left_out = 1 - expansion.label_mass.sum(axis=1) / expected.sum(axis=1)
    assert (left_out <= expansion.left_out() + 1e-4).all()
    assert (expansion.left_out() <= most).all()
    if most == 0.5:
        assert not known[expected > 0].all()  # something was pruned


def test_a_sharp_distribution_is_read_until_enough_labels_are_known(model, tokenizer):
    expansion = LabelExpander(model, tokenizer, LABELS, 0.5).open(HISTORIES[:12])
    expansion.grow(heaviest(0.5))
    few = (expansion.label_mass > 0).sum(axis=1)
    assert few.min() < 4
    expansion.grow(at_least(4))
    assert ((expansion.label_mass > 0).sum(axis=1) >= 4).all()
    everything = LabelExpander(model, tokenizer, LABELS, 0.5).open(HISTORIES[:12])
    everything.grow(at_least(99))
    assert ((everything.label_mass > 0).sum(axis=1) == len(LABELS) - 2).all()
    assert not everything.open_mass().any()


def seen(open_masses, label_mass):
    """What choosers look at."""
    open_masses, label_mass = np.array(open_masses), np.array(label_mass)
    unknown = open_masses.sum(axis=1)
    left_out = unknown / (unknown + label_mass.sum(axis=1))
    return SimpleNamespace(open_mass=lambda: open_masses, label_mass=label_mass, left_out=lambda: left_out)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0.25, [[1, 2], [3]]),  # of a mass of 1 an eighth stays behind, half of what may be left out
        (0.2, [[1, 2, 0], [3]]),
        (0.75, [[1], []]),  # half of the second one's mass is open, and may be
        (0.5, [[1, 2], []]),
    ],
)
def test_the_fewest_nodes_are_read_that_may_hold_more_than_half_of_what_is_left_out(most, expected):
    open_masses, label_mass = (
        np.array([[0.125, 0.5, 0.25, 0.0], [0.0, 0.0, 0.0, 0.5]]),
        np.array([[0.0625] * 2, [0.5, 0.0]]),
    )
    for mass_in_all in (1.0, 0.25):
        found = heaviest(most)(seen(open_masses * mass_in_all, label_mass * mass_in_all))
        assert [nodes.tolist() for nodes in found] == expected


def test_of_histories_with_too_few_labels_the_heaviest_nodes_are_read():
    found = at_least(2)(seen([[0.1, 0.3, 0.2], [0.1, 0.3, 0.2], [0.0, 0.3, 0.0]], [[0.5, 0.0], [0.2, 0.1], [0.1, 0.0]]))
    assert [nodes.tolist() for nodes in found] == [[1, 2], [], [1]]


def test_equal_nodes_are_read_in_their_order():
    open_masses = np.full((1, 200), 1 / 256)
    for choose in (heaviest(0.1), at_least(150)):
        (found,) = choose(seen(open_masses, [[7 / 32]]))
        assert found.tolist() == list(range(len(found)))
        assert len(found) >= 150


def test_open_nodes_that_hold_a_draw_are_read_those_with_most_draws_first():
    open_nodes = np.array([[True, True, True, False], [True, True, False, False]])
    seen = SimpleNamespace(
        open=open_nodes, start=np.array([[0.0, 0.25, 0.5, 0.75]] * 2), reach=np.log(np.full((2, 4), 0.25))
    )
    found = hit([np.array([0.6, 0.9, 0.35, 0.3]), np.array([0.5, 0.99])])(seen)
    assert [nodes.tolist() for nodes in found] == [[1, 2], []]
    many = SimpleNamespace(open=np.ones((1, 256), dtype=bool), start=np.arange(256)[None] / 256)
    many.reach = np.log(np.full((1, 256), 1 / 256))
    (found,) = hit([(np.arange(200) + 0.5) / 256])(many)
    assert found.tolist() == list(range(200))


def test_a_draw_is_of_the_label_whose_interval_holds_it_its_end_left_out():
    seen = SimpleNamespace(
        label_mass=np.array([[0.0, 0.25, 0.25], [0.0, 0.0, 0.0]]), label_start=np.array([[0, 0.5, 0.25]] * 2)
    )
    draws = np.array([0.0, 0.25, 0.4999, 0.5, 0.75])
    assert drawn_labels(seen, 0, draws).tolist() == [-1, 2, 2, 1, -1]
    assert drawn_labels(seen, 1, draws).tolist() == [-1] * 5


@pytest.mark.parametrize(("limit", "expected"), [(1, 2), (3, 2), (4, 4), (6, 4), (7, 7), (9, 7)])
def test_a_read_holds_whole_chains_up_to_its_limit_and_one_at_least(limit, expected):
    expansion = Expansion.__new__(Expansion)
    expansion.tree = SimpleNamespace(chains=[np.array([0, 1]), np.array([2, 3]), np.array([4, 5, 6])])
    assert expansion._with_chains(np.arange(3), limit).tolist() == list(range(expected))
    assert expansion._with_chains(np.zeros(0, dtype=np.int64), limit).tolist() == []


def test_intervals_tile_the_unit_interval_without_overlap(model, tokenizer):
    expansion = LabelExpander(model, tokenizer, LABELS, TEMPERATURE).open(HISTORIES[:3])
    expansion.grow(heaviest(0.0))
    for row in range(3):
        order = np.argsort(expansion.label_start[row])
        ends = (expansion.label_start[row] + expansion.label_mass[row])[order]
        assert (expansion.label_start[row][order][1:] >= ends[:-1] - 1e-12).all()
        assert ends[-1] <= 1 + 1e-9


def test_a_draw_finds_its_label_whether_all_or_only_its_own_path_was_read(model, tokenizer):
    draws = [np.random.default_rng(row).random(200) * 0.2 for row in range(4)]
    labels = []
    for choose in (heaviest(0.0), hit(draws)):
        expansion = LabelExpander(model, tokenizer, LABELS, TEMPERATURE).open(HISTORIES[:4])
        expansion.grow(choose)
        labels.append([drawn_labels(expansion, row, own) for row, own in enumerate(draws)])
    assert all(np.mean(a == b) > 0.99 for a, b in zip(*labels, strict=True))  # ends of intervals differ by rounding
    assert any((found >= 0).any() for found in labels[0])


def test_valid_draws_follow_the_exact_distribution(model, tokenizer):
    """The random model hardly believes in labels: numbers are drawn where its labels' intervals are."""
    expansion = LabelExpander(model, tokenizer, LABELS, TEMPERATURE).open([[0, 1]])
    expansion.grow(heaviest(0.0))
    rng = np.random.default_rng(0)
    masses = exact(model, tokenizer, histories=[[0, 1]])[0]
    near = np.concatenate([[0.0], np.cumsum(masses)])  # as much of [0, 1) as labels hold, drawn uniformly
    uniform = rng.random(20_000) * near[-1]
    place = np.searchsorted(near, uniform, side="right") - 1
    draws = expansion.label_start[0, place] + (uniform - near[place]) * (1 - 1e-9)
    found = drawn_labels(expansion, 0, draws)
    counts = np.bincount(found, minlength=len(LABELS))[masses > 0]
    assert chisquare(counts, masses[masses > 0] / masses.sum() * counts.sum()).pvalue > 0.01


def test_only_nodes_that_a_draw_falls_into_are_read_and_each_once(model, tokenizer, monkeypatch):
    expansion = LabelExpander(model, tokenizer, LABELS, TEMPERATURE).open(HISTORIES[:2])
    expansion.grow(heaviest(0.0))
    target = int(np.argmax(expansion.label_mass[0]))
    draw = expansion.label_start[0, target] + expansion.label_mass[0, target] / 2
    fresh = LabelExpander(model, tokenizer, LABELS, TEMPERATURE).open(HISTORIES[:2])
    asked = []
    read = fresh._pass.read
    monkeypatch.setattr(fresh._pass, "read", lambda tokens, parents: (asked.append(tokens), read(tokens, parents))[1])
    fresh.grow(hit([np.array([draw]), np.zeros(0)]))
    assert drawn_labels(fresh, 0, np.array([draw])).tolist() == [target]
    path = fresh.tree.trie.paths[target]
    assert fresh.read[0, path].all()
    assert not fresh.read[1].any()
    assert sum(len(row) for tokens in asked for row in tokens) == fresh.read.sum()


def test_small_reads_give_the_same_masses(model, tokenizer, monkeypatch):
    monkeypatch.setattr("models.novelty.label_expansion.MAX_NODES_PER_READ", 40)
    expansion = LabelExpander(model, tokenizer, LABELS, TEMPERATURE).open(HISTORIES[:20])
    expansion.grow(heaviest(0.0))
    np.testing.assert_allclose(expansion.label_mass, exact(model, tokenizer)[:20], rtol=1e-3)


def test_another_family_is_read_alike(tokenizer):
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = Gemma3TextConfig(
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, final_logit_softcapping=5.0, initializer_range=0.3,
        sliding_window=512, **sizes,
    )  # fmt: skip
    torch.manual_seed(3)
    gemma = Gemma3ForCausalLM(config).eval()
    expansion = LabelExpander(gemma, tokenizer, LABELS, TEMPERATURE).open(HISTORIES[:6])
    expansion.grow(heaviest(0.0))
    np.testing.assert_allclose(expansion.label_mass, exact(gemma, tokenizer)[:6], rtol=1e-3)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.text("abc ,", min_size=1, max_size=8), min_size=4, max_size=12, unique_by=lambda text: text.strip()),
    st.floats(0.0, 0.6),
)
def test_any_labels_any_bound(model, tokenizer, labels, most):
    try:
        expander = LabelExpander(model, tokenizer, labels, TEMPERATURE)
    except ValueError:
        return  # labels that are empty or alike are refused
    histories = [[0, 1], [1, 2], [0, 3]]
    expansion = expander.open(histories)
    expansion.grow(heaviest(most))
    expected = exact(model, tokenizer, labels, histories)
    known = expansion.label_mass > 0
    np.testing.assert_allclose(expansion.label_mass[known], expected[known], rtol=2e-3)
    assert (1 - expansion.label_mass.sum(axis=1) / expected.sum(axis=1) <= most + 1e-3).all()


def test_a_temperature_must_be_positive(model, tokenizer):
    with pytest.raises(ValueError, match="positive"):
        LabelExpander(model, tokenizer, LABELS, 0.0)
