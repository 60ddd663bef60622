"""What the automation conditions ask for, tick by tick, on a real home and an ephemeral instance."""

import json
from datetime import timedelta

import polars as pl
from support.line import DAYS, FIRST_DAY, LAST_DAY, answer, command, materialize, materialize_each

from alignrec_assets.warehouse.connection import Warehouse
from alignrec_assets.warehouse.rows import table_frame

ALL_DAYS = [str(FIRST_DAY + timedelta(days=number)) for number in range(DAYS)]


def scenarios(home, *entries, **variables):
    """The ticks of each scenario (see ``support/conditions.py``), all told by one process."""
    return answer(home, "conditions.py", *map(json.dumps, entries), **variables)


def ticks(home, *entries, **variables):
    (found,) = scenarios(home, entries, **variables)
    return found


def asked_in_any(found):
    """What a scenario asked for after its first tick, which sees no event."""
    return set().union(*found[1:])


def passed(*checks):
    return [f"passed:{check}" for check in checks]


CHECKED_BY = {
    "novelty_model": [
        "novelty_model:gates",
        "novelty_model:training_converged",
        "interests/clusters:contract",
        "training/novelty_examples:contract",
    ],
    "alignment_model": [
        "training/pointwise_examples:contract",
        "training/pairwise_examples:contract",
        "interests/clusters:contract",
        "novelty_model:gates",
        "novelty_model:training_converged",
    ],
}

AUDITED = passed(
    "candidates/scored:contract",
    "candidates/pools:contract",
    "feedback/transition_scores:contract",
    *CHECKED_BY["novelty_model"],
)
"""Checks that passed before a publication; the contract of what is published comes first."""


def land_late_event(home, day):
    """One event of the second day, of a user who is known later, with a cluster that they first met after that day."""
    with Warehouse(home).reading() as connection:
        first = table_frame(connection, "interests.first_interactions")
    row = first.filter(pl.col("day") == pl.lit(LAST_DAY)).sort("user_id", "cluster_id").row(0, named=True)
    folder = home.landing / "events" / f"day={LAST_DAY}"
    moment = f"{day}T23:00:00Z"
    late = {"user_id": [row["user_id"]], "item_id": [row["item_id"]], "ts": [moment], "positive": [True]}
    pl.DataFrame(late).write_parquet(folder / "late.parquet")


def test_nothing_is_asked_for_where_nothing_changed(copied_home):
    assert ticks(copied_home, "made:base_model") == [{}, {}]


def test_a_late_day_asks_for_itself_and_then_for_all_days_that_look_back_at_it(copied_home):
    late = ALL_DAYS[1]
    land_late_event(copied_home, late)
    materialize(copied_home, "raw/events", late)
    (first,) = ticks(copied_home)
    assert first["interests/user_cluster_days"] == [late]
    materialize(copied_home, "interests/user_cluster_days", late)
    (second,) = ticks(copied_home)
    assert second["interests/first_interactions"] == ALL_DAYS[1:]
    assert second["feedback/transition_users"] == ALL_DAYS[1:]
    assert "interests/user_cluster_days" not in second
    readers = ("interests/first_interactions", "feedback/transition_users")
    materialize_each(copied_home, *((asset, ALL_DAYS[1], ALL_DAYS[-1]) for asset in readers))
    (third,) = ticks(copied_home)
    assert third["feedback/transition_scores"] == ALL_DAYS[2:]  # the days before have no feedback, late event or not
    assert third["training/novel_transitions"] == ALL_DAYS[1:]
    assert "interests/first_interactions" not in third


def test_scores_wait_until_their_window_is_complete(copied_home):
    missing = ALL_DAYS[1]
    with Warehouse(copied_home).writing() as connection:
        forget = "DELETE FROM registry.fingerprints WHERE asset = $asset AND list_contains($days, partition)"
        connection.execute(forget, {"asset": "feedback.transition_users", "days": [missing]})
        connection.execute(forget, {"asset": "feedback.transition_scores", "days": ALL_DAYS})
    (asked,) = ticks(copied_home)
    assert asked["feedback/transition_users"] == [missing]
    assert asked["feedback/transition_scores"] == ALL_DAYS[:1]


def test_a_day_that_fails_is_asked_for_again_only_once_its_inputs_are_made_anew(copied_home):
    day = ALL_DAYS[1]
    with Warehouse(copied_home).writing() as connection:
        older = "UPDATE registry.fingerprints SET fingerprint = 'older' WHERE asset = $asset AND partition = $day"
        connection.execute(older, {"asset": "interests.user_cluster_days", "day": day})
    table = "interests/user_cluster_days"
    asked = ticks(copied_home, f"broke:{table}:{day}", "made:base_model", f"made:raw/events:{day}")
    assert [tick.get(table) for tick in asked] == [[day], None, None, [day]]


def test_a_changed_setting_asks_for_what_it_changes_alone(copied_home):
    (asked,) = ticks(copied_home, ALIGNREC_FEEDBACK__INTERVAL="0.02")
    assert asked == {"feedback/transition_scores": ALL_DAYS}


def test_a_new_novelty_model_is_carried_to_publication_when_its_checks_passed(copied_home):
    audited = passed(*CHECKED_BY["novelty_model"], "candidates/histories:contract")
    asked, failed = scenarios(
        copied_home,
        [audited, "made:novelty_model"],
        [audited, "failed:novelty_model:gates", "made:novelty_model"],
    )
    assert {"candidates/pools", "registry/checkpoints"} <= set(asked[-1])
    assert "candidates/pools" not in failed[-1]
    assert "registry/checkpoints" in failed[-1]


def test_new_examples_and_a_new_alignment_model_are_followed_when_their_checks_passed(copied_home):
    scored = passed("candidates/pools:contract", "interests/clusters:contract")
    diverged = [[*scored, "failed:alignment_model:training_converged"], "made:alignment_model"]
    gate = "novelty_model:gates"
    behind_gate = [check for check in CHECKED_BY["alignment_model"] if check != gate]
    examples, gated, model, warned = scenarios(
        copied_home,
        [passed(*CHECKED_BY["alignment_model"]), "made:training/pairwise_examples"],
        [[*passed(*behind_gate), f"failed:{gate}"], "made:training/pairwise_examples"],
        [[*scored, *passed("alignment_model:training_converged")], "made:alignment_model"],
        diverged,
    )
    assert set(examples[-1]) == {"alignment_model", "registry/checkpoints"}
    assert "alignment_model" not in gated[-1]
    assert set(model[-1]) == {"candidates/scored", "registry/checkpoints"}
    assert "candidates/scored" in warned[-1]
    assert "candidates/scored" not in ticks(copied_home, *diverged, ALIGNREC_CHECKS__SEVERITY="error")[-1]


def test_scores_are_published_only_with_all_checks_passed(copied_home):
    contract, *others = AUDITED
    asked, failed, late = scenarios(
        copied_home,
        [AUDITED, "made:candidates/scored"],
        [[*others, "failed:candidates/scored:contract"], "made:candidates/scored"],
        [others, "made:candidates/scored", contract],  # the check comes after its table
    )
    assert set(asked[-1]) == {"publication/transition_table", "publication/versions"}
    assert failed[-1] == {}
    assert late[-2] == {}
    assert "publication/transition_table" in late[-1]


def test_a_figure_that_fails_holds_the_line_back_only_where_it_is_an_error(copied_home):
    late = ALL_DAYS[1]
    land_late_event(copied_home, late)
    materialize(copied_home, "raw/events", late)
    unusual = "failed:raw/events:volume"
    (warned,) = ticks(copied_home, unusual, ALIGNREC_CHECKS__SEVERITY="warn")[1:]
    held, opened, broken = scenarios(
        copied_home,
        [unusual],
        [unusual, "passed:raw/events:volume"],
        ["failed:raw/events:contract"],  # a day that breaks its contract is not there; others can go on
        ALIGNREC_CHECKS__SEVERITY="error",
    )
    assert held[-1] == {}
    for asked in (warned, opened[-1], broken[-1]):
        assert asked["interests/user_cluster_days"] == [late]


def test_rates_that_drift_hold_back_learning_and_publication(copied_home):
    with Warehouse(copied_home).writing() as connection:
        connection.execute("DELETE FROM registry.fingerprints WHERE asset = 'training.pointwise_examples'")
    drifted = "failed:feedback/transition_counts:feedback_rates"
    published = [[*AUDITED, drifted], "made:candidates/scored"]
    broken = [[*AUDITED, "failed:raw/events:contract"], "made:candidates/scored"]
    learned, warned, refused = map(asked_in_any, scenarios(copied_home, [drifted], published, broken))
    assert "training/pointwise_examples" in learned
    assert "publication/transition_table" in warned
    assert "publication/transition_table" not in refused
    for held in scenarios(copied_home, [drifted], published, ALIGNREC_CHECKS__SEVERITY="error"):
        assert not {"training/pointwise_examples", "publication/transition_table"} & asked_in_any(held)


def test_the_first_models_are_asked_for_once_the_days_that_were_read_are_ready(copied_home):
    first = ("base_model", "training/novelty_examples", "novelty_model")
    with Warehouse(copied_home).writing() as connection:
        forget = "DELETE FROM registry.fingerprints WHERE asset = $asset"
        for asset in (*first, "training/pointwise_examples"):
            connection.execute(forget, {"asset": asset.replace("/", ".")})
    (asked,) = ticks(copied_home)
    assert set(first) <= set(asked)
    assert "training/pointwise_examples" not in asked  # there is no base model to learn with
    with Warehouse(copied_home).writing() as connection:
        connection.execute(
            f"{forget} AND partition = $day", {"asset": "training.novel_transitions", "day": ALL_DAYS[0]}
        )
    (waiting,) = ticks(copied_home)
    assert not set(first) & set(waiting)


def test_training_is_asked_for_once_feedback_has_grown_or_drifted(copied_home):
    (asked,) = ticks(copied_home)
    assert asked == {}
    with Warehouse(copied_home).writing() as connection:
        connection.execute(
            "UPDATE registry.fingerprints SET details = json_merge_patch(details, $changed::JSON) WHERE asset = $asset",
            {"asset": "training.pointwise_examples", "changed": json.dumps({"as_of": ALL_DAYS[-2]})},
        )
    # What follows from an update is told from the second tick on.
    grown, not_yet = (
        ticks(copied_home, "made:base_model", ALIGNREC_AUTOMATION__NEW_FEEDBACK_SHARE=share)[1]
        for share in ("0.1", "1000")
    )
    assert {"training/pointwise_examples", "training/pairwise_examples"} <= set(grown)
    assert not_yet == {}
    with Warehouse(copied_home).writing() as connection:
        spoil = "UPDATE feedback.transition_users SET positives = impressions WHERE day = $day"
        connection.execute(spoil, {"day": LAST_DAY})
    (drifted,) = ticks(copied_home, ALIGNREC_AUTOMATION__NEW_FEEDBACK_SHARE="1000")
    assert "training/pointwise_examples" in drifted


def test_everything_is_off_in_a_fresh_instance(copied_home):
    listed = command(copied_home.path, "dagster", "sensor", "list", "-m", "alignrec_assets.definitions").stdout
    assert "landing_files [STOPPED]" in listed
    assert "automation [STOPPED]" in listed
    listed = command(copied_home.path, "dagster", "schedule", "list", "-m", "alignrec_assets.definitions").stdout
    assert "novelty_fine_tune [STOPPED]" in listed
    assert "taxonomy_review [STOPPED]" in listed
