"""Leaks: transitions of held-out users change nothing that is learned, by a bit; one that teaches does.

What may depend on what:

- which transitions teach, and in which order: on the transitions of the users who teach. The list of all users alone
  says who is held out; no held-out user teaches;
- the weights of every step: on the transitions that teach;
- which of these weights are saved, and how many passes are taken: on the validation users too;
- spreads and ridges of laws by counting: on the validation users; what is fitted with them: on both.
"""

import dataclasses

import polars as pl
import pytest
from support.options import NOVELTY
from support.transitions import LABELS, transitions

from models.files import content_hash
from models.novelty.batches import split_examples
from models.novelty.examples import choose_novelty_examples
from models.novelty.training import NoveltyTraining, train_novelty_model
from models.progress import silent

OPTIONS = dataclasses.replace(
    NOVELTY, tune="full", learning_rate=0.01, batch_size=12, epochs=1, most_steps=1, evaluate_every=2, seed=3
)
HELD_OUT, VALIDATES = pl.col("split") == "holdout", pl.col("split") == "validation"
FIRST = pl.int_range(pl.len()) == 0  # of the toy transitions; it teaches


def other_targets(rows, changed, clusters=6):
    """The rows with another target, outside the history, where ``changed``."""
    following = pl.concat_list(((pl.col("cluster_id") + step) % clusters).cast(pl.Int64) for step in range(1, clusters))
    other = following.list.set_difference(pl.col("history").cast(pl.List(pl.Int64))).list.first()
    return rows.with_columns(pl.when(changed).then(other).otherwise("cluster_id").alias("cluster_id"))


def log(users=30):
    rows = [(f"u{number}", [0, 1 + turn], 4 + (number + turn) % 3) for number in range(users) for turn in range(3)]
    schema = {"user_id": pl.String, "history": pl.List(pl.Int64), "cluster_id": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def chosen(rows, split="train", maximum=40):
    found = choose_novelty_examples(rows, maximum, label_limit=1.2, holdout_share=0.3, seed=1)
    return found.filter(pl.col("split") == split)


def test_examples_are_chosen_from_the_transitions_of_users_who_teach():
    before = chosen(log())
    users = chosen(log(), "holdout", maximum=1000)["user_id"].unique()
    held_out = pl.col("user_id").is_in(users.implode())
    assert len(users) > 5
    assert before.filter(held_out).is_empty()
    for other in (
        other_targets(log(), held_out, clusters=9),
        pl.concat([log(), *[log().filter(held_out).with_columns(history=pl.lit([0, 3]))] * 4]),
    ):
        assert chosen(other).equals(before)
        assert set(chosen(other, "holdout", maximum=1000)["user_id"]) == set(users)
    assert not chosen(other_targets(log(), pl.col("user_id") == before["user_id"][0], clusters=9)).equals(before)


@pytest.fixture
def weights_of(tiny_model_folder, monkeypatch):
    """Trains on examples; what was learned at every look, and what the looks found."""
    looks = []
    look = NoveltyTraining._look

    def remember(self, point):
        looks.append((point.step, point.training_loss, [weight.detach().numpy().tobytes() for weight in self.trained]))
        look(self, point)

    monkeypatch.setattr(NoveltyTraining, "_look", remember)

    def train(folder, examples, options=OPTIONS):
        looks.clear()
        report = train_novelty_model(tiny_model_folder, folder, LABELS, examples, options, log=silent)
        return [*looks], [point.validation_loss for point in report.curve], content_hash(folder / "model.safetensors")

    return train


def test_held_out_transitions_change_nothing_and_validation_selects_among_weights(weights_of, tmp_path):
    before, losses, saved = weights_of(tmp_path / "before", transitions())
    assert weights_of(tmp_path / "held out", other_targets(transitions(), HELD_OUT)) == (before, losses, saved)
    after, other_losses, _ = weights_of(tmp_path / "after", other_targets(transitions(), VALIDATES))
    assert [step for step, *_ in before] == [2, 4]
    assert after == before
    assert all(one != other for one, other in zip(losses, other_losses, strict=True))
    assert weights_of(tmp_path / "taught", other_targets(transitions(), FIRST))[0] != before


def test_where_one_look_leaves_no_choice_validation_changes_nothing_that_is_saved(weights_of, tmp_path):
    once = dataclasses.replace(OPTIONS, evaluate_every=60)
    saved = [
        weights_of(tmp_path / name, other_targets(transitions(), changed), once)[2]
        for name, changed in (("before", pl.lit(value=False)), ("after", VALIDATES), ("taught", FIRST))
    ]
    assert saved[0] == saved[1] != saved[2]


def test_the_held_out_sample_never_teaches():
    rows = transitions().with_row_index("id")
    training, validation, holdout = split_examples(rows, len(LABELS), OPTIONS)
    assert not set(training["id"]) & {*validation["id"], *holdout["id"]}
    assert not set(validation["id"]) & set(holdout["id"])
    assert training.equals(rows.filter(pl.col("split") == "train"))


def test_where_nobody_validates_those_who_teach_choose_and_no_held_out_user_does():
    rows = transitions().filter(~VALIDATES)
    training, validation, _ = split_examples(rows, len(LABELS), OPTIONS)
    assert validation.sort("user_id", "history").equals(training.sort("user_id", "history"))
