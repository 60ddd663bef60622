"""The printed contest of the demo: the language model alone in it, intervals where histories are few, the words."""

import polars as pl

from alignrec_assets.commands.demo_report import (
    CONTESTANTS,
    MEASURES,
    _apart_lines,
    _contest_lines,
    _ranking_lines,
    _words_lines,
)
from models.serving.transition_table import TransitionTable

FIGURES = {f"{measure}{suffix}": 0.5 for measure in MEASURES for suffix in CONTESTANTS}
FIGURES |= {"f1_at_k": 0.7391, "ndcg_at_k": 0.9093, "f1_at_k_label_regression": None}
FIGURES |= {"f1_at_k_ceiling": 0.65, "ndcg_at_k_ceiling": 0.91}
INTERVALS = {name: (value - 0.1, value + 0.1) for name, value in FIGURES.items() if value is not None}


def row(lines, name):
    (found,) = [line for line in lines if line.strip().startswith(name)]
    return found.removeprefix(f"  {name}").split("   what")[0].split("  ")


def texts(lines, name):
    return [text.strip() for text in row(lines, name) if text.strip()]


def test_figures_from_few_histories_are_printed_with_their_intervals():
    lines = _contest_lines(FIGURES | {"held_out_histories": 23}, INTERVALS, 3)
    assert "23 held-out histories, with 95% intervals" in lines[1]
    assert texts(lines, "alignment model") == ["0.739 (0.639 to 0.839)", "0.909 (0.809 to 1.009)"]
    assert texts(lines, "language model alone") == ["0.500 (0.400 to 0.600)"] * 2
    assert texts(lines, "regression on labels") == ["-", "0.500 (0.400 to 0.600)"]
    assert texts(lines, "the truth itself") == ["0.650 (0.550 to 0.750)", "0.910 (0.810 to 1.010)"]


def test_figures_from_many_histories_stand_alone():
    lines = _contest_lines(FIGURES | {"held_out_histories": 100}, INTERVALS, 3)
    assert "interval" not in lines[1]
    assert texts(lines, "alignment model") == ["0.739", "0.909"]


def test_the_contest_with_users_kept_apart_stands_beside():
    figures = {f"{measure}_users_apart{suffix}": 0.4 for measure in MEASURES for suffix in ("", "_prior")}
    intervals = dict.fromkeys(figures, (0.3, 0.5))
    lines = _apart_lines(figures | {"held_out_histories_users_apart": 12.0}, intervals)
    assert "12 held-out histories" in lines[0]
    assert [line.split("  ")[1] for line in lines[1:]] == ["alignment model", "prior of the cluster"]
    assert texts(lines[1:], "prior of the cluster") == ["0.400 (0.300 to 0.500)"] * 2
    assert _apart_lines({"held_out_histories": 12}, {}) == []


def test_the_share_of_the_words_is_printed():
    figures = {"spread_of_scores": 0.49, "spread_of_words": 0.011, "words_share": 0.022}
    (line,) = _words_lines(figures | {"spearman_without_words": None})
    for told in ("spreads by 0.490", "language model by 0.011", "share 0.022", "without them -"):
        assert told in line
    assert _words_lines({"words_share": None}) == []


def test_what_ranks_the_table_and_why_is_printed():
    manifest = {"ranking": "prior", "ranking_reason": "the alignment model is not told from a random order"}
    lines = _ranking_lines(TransitionTable("v", manifest, pl.DataFrame(), pl.DataFrame()))
    assert lines == ["", "RANKED BY the prior of the cluster: the alignment model is not told from a random order"]
