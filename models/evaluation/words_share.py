"""How much of a ranking the words make: what it owes to the heads on words, and what is left without them."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.stats import ConstantInputWarning, spearmanr

from models.arrays import Float64Array


def words_share(scores: Sequence[Float64Array], words: Sequence[Float64Array]) -> dict[str, float | None]:
    """Spread of the ranking within a history, of it the words', and the ranking without them.

    Args:
        scores: log-odds of the candidates, one array per history, each of at least two.
        words: the part of them that the heads on words make.

    Returns:
        ``spread_of_scores`` and ``spread_of_words``: standard deviation among the candidates of a history, mean over
        the histories; ``words_share``: the second over the first; ``spearman_without_words``: rank
        correlation of the scores with what is left without the words, mean over the histories where nothing is
        constant. None each where nothing could be measured.
    """
    pairs = list(zip(scores, words, strict=True))
    if not pairs:
        return dict.fromkeys(("spread_of_scores", "spread_of_words", "words_share", "spearman_without_words"))
    whole, part = (float(np.mean([values.std() for values in side])) for side in zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        correlations = np.array([spearmanr(scored, scored - told).statistic for scored, told in pairs])
    known = correlations[np.isfinite(correlations)]
    return {
        "spread_of_scores": whole,
        "spread_of_words": part,
        "words_share": part / whole if whole else None,
        "spearman_without_words": float(known.mean()) if len(known) else None,
    }
