"""Reads the candidates that can change who wins, and forecasts the others: a cascade of a cheap model and a large one.

What the affinities say of a candidate costs nothing, and what the words say can be forecast from readings of a sample
(``words_forecast``), with a known error. Where the k best of a history stand apart from the rest by more than twice
that error, none of its candidates has to be read; else those that lie too near the border are. The error that is
allowed for is chosen on the sample, which is read whole: the smallest one that costs hardly any of the winners' lead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from models.alignment.candidate_reader import HISTORIES_PER_PASS, CandidateReader, Clusters
from models.alignment.words_forecast import Readings, WordsForecast, fit_forecast, label_coordinates
from models.arrays import BoolArray, Float64Array
from models.language.prompts import History
from models.progress import Log, Progress, silent
from models.shards import evenly_spread, micro_batches

SAMPLE = 4096
"""Histories, all of whose candidates are read: a table of fewer ones is read whole. On 768 clusters 256, 512 and 1,024
of them, in groups of neighbours, forecast 25, 32 and 45% of the variance within histories; 1,024 apart, 55%."""
PROBES = 3
MARGIN_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""Which share of the forecast's errors a margin covers."""


@dataclass(frozen=True)
class Spared:
    """What unread candidates cost, on a sample where all were read.

    Attributes:
        lost: of the lead of the k winners over their pool in predicted rate, the share that is lost.
        winners_changed: share of the winners that are others than if all candidates had been read.
    """

    lost: float
    winners_changed: float


@dataclass(frozen=True, eq=False)
class Cascade:
    """A reader that spares readings.

    Attributes:
        reader: the language model.
        forecast: of what it says.
        k: how many candidates of a history win.
        margin: error of a forecast that is allowed for, in log-odds.
        spared: what that costs.
    """

    reader: CandidateReader
    forecast: WordsForecast
    k: int
    margin: float
    spared: Spared

    @classmethod
    def tuned(
        cls,
        reader: CandidateReader,
        histories: Sequence[History],
        candidates: Sequence[Clusters],
        k: int,
        most_lost: float,
        log: Log = silent,
    ) -> "Cascade":
        """Fit the forecast to a sample of the table, and choose the margin on it.

        Args:
            reader: the language model.
            histories: of the whole table, each sorted.
            candidates: of each.
            k: how many candidates of a history win.
            most_lost: share of the winners' lead over their pool, in predicted rate, that may be lost.
            log: receives progress lines.
        """
        places = evenly_spread(range(len(histories)), SAMPLE)
        some, offered = [histories[place] for place in places], [candidates[place] for place in places]
        log(f"reading {len(reader.labels)} labels, and all candidates of {len(some):,} histories")
        coordinates = label_coordinates(reader, evenly_spread(some, PROBES))
        words = reader.all_words(some, offered, log)
        forecast, left_out = fit_forecast(coordinates, Readings(some, offered, words), np.arange(len(places)) % 2)
        guessed, logits = (reader.own_logits(values, some, offered) for values in (left_out, words))
        margin, spared = choose_margin(guessed, logits, k, most_lost)
        log(
            f"a margin of {margin:.3f} log-odds: {spared.lost:.2%} of the lead of the winners is lost, and "
            f"{spared.winners_changed:.1%} of them are others"
        )
        return cls(reader, forecast, k, margin, spared)

    def logits_and_read(
        self, histories: Sequence[History], candidates: Sequence[Clusters], log: Log = silent
    ) -> tuple[list[Float64Array], list[BoolArray]]:
        """Logit of every candidate of every history, and whether the language model read it for that."""
        found: list[Float64Array] = []
        masks: list[BoolArray] = []
        progress = Progress(len(histories), "histories", log)
        for batch in micro_batches(len(histories), HISTORIES_PER_PASS):
            some, offered = [histories[i] for i in batch], [candidates[i] for i in batch]
            guessed = self.reader.own_logits(self.forecast(some, offered), some, offered)
            alive = self.reader.reads(offered)
            needed = [undecided(values, self.k, self.margin) & own for values, own in zip(guessed, alive, strict=True)]
            asked = [np.array(clusters)[mask].tolist() for clusters, mask in zip(offered, needed, strict=True)]
            for values, mask, read in zip(guessed, needed, self.reader.all_logits(some, asked), strict=True):
                values[mask] = read
            found += guessed
            masks += needed
            progress.advance(len(batch))
        return found, masks


def undecided(values: Float64Array, k: int, margin: float) -> BoolArray:
    """[candidates] which of them may or may not be among the k best, if each value is off by up to ``margin``.

    A winner is certain if it is ahead of the best of the others by twice the margin. A loser is certain if it is as far
    behind the last of the winners.
    """
    if len(values) <= k:
        return np.zeros(len(values), dtype=np.bool_)
    best = np.sort(values)[::-1]
    return np.asarray((values > best[k - 1] - 2 * margin) & (values < best[k] + 2 * margin))


def choose_margin(
    guessed: Sequence[Float64Array], read: Sequence[Float64Array], k: int, most_lost: float
) -> tuple[float, Spared]:
    """The smallest margin with which at most a share of the winners' lead is lost, and what it costs.

    Args:
        guessed: forecasts of the candidates of each history.
        read: what the language model says of them.
        k: how many win.
        most_lost: the share.
    """
    errors = [whole - guess for whole, guess in zip(read, guessed, strict=True)]
    sizes = np.abs(np.concatenate([error - error.mean() for error in errors if len(error)]))  # a common error is none
    for share in MARGIN_SHARES:
        margin = float(np.quantile(sizes, share)) if share else 0.0
        spared = cost_of_sparing(guessed, read, k, margin)
        if spared.lost <= most_lost:
            return margin, spared
    return float("inf"), Spared(0.0, 0.0)


def cost_of_sparing(guessed: Sequence[Float64Array], read: Sequence[Float64Array], k: int, margin: float) -> Spared:
    """What it costs to read only the candidates that are undecided with a margin; k or fewer of them cost nothing."""
    lead, lost, changed, winners = 0.0, 0.0, 0, 0
    for guess, whole in zip(guessed, read, strict=True):
        if len(whole) <= k:
            continue
        right, chosen = _best(whole, k), _best(np.where(undecided(guess, k, margin), whole, guess), k)
        rates = expit(whole)
        lead += rates[right].mean() - rates.mean()
        lost += rates[right].mean() - rates[chosen].mean()
        changed += len(set(right) - set(chosen))
        winners += k
    return Spared(lost / lead if lead else 0.0, changed / max(winners, 1))


def _best(values: Float64Array, k: int) -> list[int]:
    best: list[int] = np.argsort(-values, kind="stable")[:k].tolist()
    return best
