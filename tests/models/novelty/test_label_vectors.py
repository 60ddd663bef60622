"""The novelty model by label vectors: readings, what is saved, the law and the draws that follow from it, and leaks."""

import dataclasses
from itertools import chain

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import chisquare
from support.options import NOVELTY
from support.transitions import LABELS, transitions

from models.candidates.pool_engines import PoolOptions, Vectors, open_engine
from models.files import MODEL_FOLDER, content_hash
from models.language.language_model import load_causal_model, load_tokenizer
from models.language.prompts import prompt_tokens
from models.novelty import label_vectors
from models.novelty.affinity_law import GRID, START
from models.novelty.label_distribution import label_distributions
from models.novelty.label_vectors import LAW_FILE, load_law, read_labels, train_label_vectors
from models.novelty.report import learn_novelty_model

OPTIONS = dataclasses.replace(NOVELTY, head="label_vectors", seed=1)
SPLIT = pl.col("split")
DRAWS = PoolOptions("exact", draws=15, distinct=3, temperature=1.5, most_left_out=0.01, seed=1)


def of_split(rows, split):
    return rows.filter(split == SPLIT)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, tiny_model_folder):
    folder = tmp_path_factory.mktemp("vectors")
    return folder, learn_novelty_model(tiny_model_folder, folder, LABELS, transitions(), OPTIONS)


def test_a_label_is_read_as_if_it_stood_alone(tiny_model_folder):
    model, tokenizer = load_causal_model(tiny_model_folder), load_tokenizer(tiny_model_folder)

    def plain(text):
        return tokenizer(text, add_special_tokens=False).input_ids

    with torch.inference_mode():
        found = read_labels(model, tokenizer, LABELS)
        for label, vector in zip(LABELS, found, strict=True):
            words = "".join(f" {word}" for word in label.replace(",", " ").split())
            pieces = (prompt_tokens(tokenizer, "Next:"), *map(plain, (words, "\n")))
            alone = model.base_model(torch.tensor([list(chain.from_iterable(pieces))])).last_hidden_state[0, -1]
            assert vector.numpy() == pytest.approx(alone.float().numpy(), abs=1e-4)


def test_the_contest_is_won_where_what_follows_is_certain(learned):
    folder, facts = learned
    figures = facts["figures"]
    assert facts["head"] == "label_vectors"
    assert figures["format_validity_tuned"] == 1.0
    assert figures["loss"] < figures["loss_popularity"] < figures["loss_uniform"] == pytest.approx(np.log(4))
    assert figures["loss"] < figures["loss_words"]
    assert figures["training_examples"] == 60
    assert (figures["held_out_transitions"], figures["held_out_users"]) == (15, 1)
    assert set(facts["leads"]) == {
        *("uniform", "popularity", "cooccurrence", "additive", "factorisation"),
        *("counting", "words"),
    }
    assert facts["spreads"]["mutual"] > 0
    assert (folder / "novelty.png").stat().st_size > 10_000


def test_the_law_that_was_saved_is_the_one_that_was_judged(learned):
    folder, facts = learned
    law = load_law(folder / MODEL_FOLDER, len(LABELS))
    held_out = of_split(transitions(), "holdout")
    log_p = law.log_probabilities(held_out["history"].to_list())
    own = log_p[np.arange(held_out.height), held_out["cluster_id"].to_numpy()]
    assert facts["figures"]["loss"] == pytest.approx(-own.mean())
    found = label_distributions(folder / MODEL_FOLDER, LABELS, [(0, 1), (2, 5)], [0.5, 1.0])
    assert found.format_validity.shape == (2, 2)
    assert (found.format_validity == 1.0).all()
    assert found.probabilities[1] == pytest.approx(np.exp(law.log_probabilities([(0, 1), (2, 5)])))
    sharper = np.exp(law.scores([(0, 1)])[0, 2:] / 0.5)
    assert found.probabilities[0, 0, 2:] == pytest.approx(sharper / sharper.sum())


def test_a_model_of_other_clusters_is_refused(learned):
    with pytest.raises(ValueError, match="knows 6 clusters and there are 5"):
        load_law(learned[0] / MODEL_FOLDER, 5)


def test_draws_follow_the_law_whatever_the_parts(learned):
    options = dataclasses.replace(DRAWS, draws=4000)
    engine = open_engine(learned[0] / MODEL_FOLDER, LABELS, options)
    assert isinstance(engine, Vectors)
    histories = [(0, 1), (1, 4), (2, 5)]
    together = list(engine.draw(histories))
    for history, drawn in zip(histories, together, strict=True):
        assert drawn.validity_at_1 == 1.0
        assert drawn.unknown == 0.0
        assert not drawn.masses[list(history)].any()
        clusters, counts = drawn.pool
        assert sum(counts) == 4000
        assert chisquare(counts, drawn.masses[clusters] * 4000).pvalue > 0.001
        (alone,) = engine.draw([history])
        assert alone.pool == drawn.pool


@pytest.mark.parametrize("engine", ["vllm", "vllm_choice"])
def test_an_engine_that_writes_text_is_refused(learned, engine):
    with pytest.raises(ValueError, match=r"set candidates.engine to exact, or novelty.head to words"):
        open_engine(learned[0] / MODEL_FOLDER, LABELS, dataclasses.replace(DRAWS, engine=engine))


def changed(rows, split):
    """Another target for the transitions of a split."""
    other = pl.concat_list(((pl.col("cluster_id") + step) % 6).cast(pl.Int64) for step in range(1, 6))
    outside = other.list.set_difference(pl.col("history")).list.first()
    return rows.with_columns(pl.when(split == SPLIT).then(outside).otherwise("cluster_id").alias("cluster_id"))


def test_held_out_transitions_change_nothing_that_is_saved(learned, tmp_path, tiny_model_folder):
    def saved(name, rows):
        facts = learn_novelty_model(tiny_model_folder, tmp_path / name, LABELS, rows, OPTIONS)
        return content_hash(tmp_path / name / MODEL_FOLDER / LAW_FILE), facts["figures"]

    before = content_hash(learned[0] / MODEL_FOLDER / LAW_FILE)
    after, figures = saved("held out", changed(transitions(), "holdout"))
    assert after == before
    assert figures["loss"] != learned[1]["figures"]["loss"]
    for split in ("train", "validation"):
        assert saved(split, changed(transitions(), split))[0] != before
    counted = pl.when(SPLIT == "train").then(pl.lit("counted")).otherwise(SPLIT)
    few = transitions().with_columns(
        pl.when(pl.col("user_id") == "train 0").then(SPLIT).otherwise(counted).alias("split")
    )
    assert saved("counted", few)[0] == before  # what is counted teaches as well as what is chosen


def test_its_parts_count_without_words_and_speak_without_counting(tiny_model_folder, monkeypatch, tmp_path):
    asked = []

    def chosen(taught, validation, start, grid, *others):
        asked.append((start, dict(grid)))
        return start

    monkeypatch.setattr(label_vectors, "choose_spreads", chosen)
    rows = transitions()
    model = train_label_vectors(tiny_model_folder, LABELS, of_split(rows, "train"), of_split(rows, "validation"))
    alone = dataclasses.replace(START, mutual=0.0)
    assert asked == [
        (START, dict(GRID)),
        (dataclasses.replace(START, words=0.0), {kind: values for kind, values in GRID if kind != "words"}),
        (alone, {"words": (0.1, 0.2, 0.4, 0.8)}),
    ]
    assert not model.parts["counting"].words.any()
    assert not model.parts["words"].own.any()
    for _ in range(2):  # a second time too, over the first
        model.save(tmp_path / "some" / "model")
    assert load_law(tmp_path / "some" / "model", len(LABELS)).own.tolist() == model.law.own.tolist()


def test_without_validation_users_a_model_still_stands(tiny_model_folder):
    rows = transitions()
    model = train_label_vectors(tiny_model_folder, LABELS, of_split(rows, "train"), rows[:0])
    assert np.isfinite(model.law.own).all()
    assert model.law.spreads.words > 0
