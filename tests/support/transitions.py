"""Novel transitions between six clusters, as examples of a novelty training."""

import polars as pl

SPLITS = ("train", "train", "train", "validation", "holdout")
LABELS = ["wildlife, nature", "cooking, recipes", "jazz, piano", "space, planets", "chess", "garden"]


def transitions(target_of=lambda history: (sum(history) + 1) % 6):
    """Every pair of clusters: three users teach, one validates, one is held out; the target follows from the pair."""
    rows = []
    for first in range(6):
        for second in range(first + 1, 6):
            target = target_of((first, second))
            target = next(c % 6 for c in range(target, target + 6) if c % 6 not in (first, second))
            rows += [(f"{split} {number}", [first, second], target, split) for number, split in enumerate(SPLITS)]
    schema = {"user_id": pl.String, "history": pl.List(pl.Int64), "cluster_id": pl.Int64, "split": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")
