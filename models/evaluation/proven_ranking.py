"""What ranks a published table: only what the contest on held-out histories proves.

The alignment model ranks if the contest tells it from a random order and does not show it worse than the prior of the
cluster. Otherwise the better of two yardsticks ranks, of those that are told from a random order: one that knows
nothing of the history, and one that does. Where none is, novelty alone ranks.

The measure is NDCG@k: its gain is the rate of a cluster, so it follows what the users of a history like of what a table
serves. F1@k counts places alone: taking the fourth best for the third costs as much as taking the worst. One measure is
one test, so its 95% interval lies above 0 by luck about once in 40 contests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RANKED_BY = {
    "alignment": "alignment",
    "prior": "the prior of the cluster",
    "additive": "additive affinity",
    "novelty": "novelty alone",
}
YARDSTICKS = ("prior", "additive")
"""What may rank in place of the alignment model; of equal ones the first."""
MEASURE = "ndcg_at_k"
LEAST_HISTORIES = 6
"""A ranking that knows nothing leads on all of 5 histories once in 32 times, which is more often than 1 in 40. The
bootstrap over a single history has an interval of no width: one contest told a lead of +0.504 to +0.504."""


@dataclass(frozen=True)
class Ranking:
    """What ranks the candidates of a table.

    Attributes:
        by: a key of ``RANKED_BY``.
        reason: why, with the figures, as one sentence without its full stop.
    """

    by: str
    reason: str


def proven_ranking(contest: Mapping[str, Any]) -> Ranking:
    """What may rank a table by the contest of an alignment model, and why.

    Args:
        contest: of the checkpoint's manifest ``k``, ``figures`` (of these ``held_out_histories`` and the NDCG@k of the
            yardsticks), ``leads`` and ``leads_over_random``, see ``ranking_contest.Contest``. Older checkpoints lack
            the last one: their yardsticks prove nothing.
    """
    figures, histories = contest["figures"], contest["figures"]["held_out_histories"]
    over_random, over_prior = (contest["leads"].get(name, {}).get(MEASURE) for name in ("random", "prior"))
    if histories < LEAST_HISTORIES or over_random is None or over_prior is None:
        asked = f"at least {LEAST_HISTORIES} are needed to prove a ranking"
        return Ranking("novelty", f"{histories} held-out histories judge the alignment model, and {asked}")
    model, where = "the alignment model", f"in NDCG@{contest['k']} on {histories} held-out histories (95% interval)"
    if over_random[0] <= 0:
        failed = f"{model} is not told from a random order: its lead is {_told(over_random)} {where}"
    elif over_prior[1] < 0:
        failed = f"{model} ranks worse than {RANKED_BY['prior']}: its lead is {_told(over_prior)} {where}"
    else:
        beside = f"and over {RANKED_BY['prior']} {_told(over_prior)}"
        return Ranking("alignment", f"its lead over a random order is {_told(over_random)} {where}, {beside}")
    leads = {name: found[MEASURE] for name, found in contest.get("leads_over_random", {}).items() if name in YARDSTICKS}
    proven = [name for name in YARDSTICKS if name in leads and leads[name][0] > 0]
    if proven:
        best = max(proven, key=lambda name: figures[f"{MEASURE}_{name}"])
        return Ranking(
            best, f"{failed}; {RANKED_BY[best]} is told from a random order: its lead is {_told(leads[best])}"
        )
    others = "".join(f", {RANKED_BY[name]} {_told(lead)}" for name, lead in leads.items())
    return Ranking("novelty", f"{failed}; no yardstick is told from a random order{others}")


def forced_ranking(by: str) -> Ranking:
    """What the settings name."""
    return Ranking(by, f"publication.ranking = {by} asks for it, whatever is proven")


def _told(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{low:+.3f} to {high:+.3f}"
