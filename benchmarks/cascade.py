"""What sparing readings costs in quality, and what it saves: the cascade against reading every candidate.

    alignrec study                                     (or any other run that trains an alignment model)
    python benchmarks/cascade.py --home .alignrec/study

The alignment model of the home ranks the served clusters of the test histories, and the clusters that were kept from
training, once with all candidates read and once by a cascade (``models/alignment/cascade.py``). The cascade is tuned as
for a table: on up to 4,096 of all histories, with 20 candidates each. ``tokens_share`` is that of the tokens which the
language model reads for the test histories; both read them with the same layers. Prints one JSON object as its last
line.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import polars as pl
from synthetic.devices import add_device
from synthetic.processes import use_home
from synthetic.report import print_report

OFFERED = 20


class TokenCount:
    """Counts the tokens that a model reads, padding included, by a hook on its body."""

    def __init__(self, model):
        self.tokens = 0
        model.base_model.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, module, arguments, named):  # noqa: ARG002
        self.tokens += named["input_ids"].numel()


def table_of(clusters, seed=0):
    """All pairs of clusters, and some candidates of each, as a table would have them."""
    from models.candidates.histories import all_histories

    rng = np.random.default_rng(seed)
    histories = all_histories(clusters, 2)
    return histories, [
        rng.choice([c for c in range(clusters) if c not in history], OFFERED, replace=False).tolist()
        for history in histories
    ]


def judged(scorer, cells, k):
    """F1@k and NDCG@k on cells, the tokens that were read for them, and the share of the candidates that was read."""
    from models.evaluation.metrics import evaluate_ranking

    grouped = cells.sort("history", "cluster_id").group_by("history", maintain_order=True).agg("cluster_id", "raw_rate")
    counted = TokenCount(scorer.reader.model)
    found = scorer.predict(grouped["history"].to_list(), grouped["cluster_id"].to_list(), print)
    ranking = evaluate_ranking(found.ranking, [np.array(rates) for rates in grouped["raw_rate"].to_list()], k)
    figures = {"f1_at_k": ranking.f1_at_k, "ndcg_at_k": ranking.ndcg_at_k}
    return figures | {"tokens": counted.tokens, "share_read": float(np.concatenate(found.read).mean())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="with a trained alignment model")
    add_device(parser)
    home = use_home(parser.parse_args().home.resolve())
    from alignrec_assets.refresh.checkpoints import required_checkpoint
    from alignrec_assets.refresh.taxonomies import cluster_labels
    from alignrec_assets.settings.sources import load_settings
    from alignrec_assets.warehouse.connection import Warehouse
    from alignrec_assets.warehouse.rows import table_frame
    from models.alignment.scoring import CandidateScorer
    from models.files import MODEL_FOLDER

    warehouse, settings = Warehouse(home), load_settings(home)
    k, most_lost = settings.candidates.k, settings.candidates.most_lost
    labels, folder = cluster_labels(warehouse), required_checkpoint(warehouse, "alignment_model").folder / MODEL_FOLDER
    with warehouse.reading() as connection:
        test = table_frame(connection, "training.pointwise_examples").filter(pl.col("split") == "test")
    everything, sparing = (CandidateScorer(folder, labels, "packed") for _ in range(2))
    sparing.spare_readings(*table_of(len(labels)), k, most_lost, print)
    figures = {**vars(sparing.cascade.spared), "margin": sparing.cascade.margin}
    for part, cells in (("", test.filter(~pl.col("unseen"))), ("unseen_", test.filter("unseen"))):
        if cells.is_empty():
            continue
        whole, spared = judged(everything, cells, k), judged(sparing, cells, k)
        figures |= {f"{part}{name}_whole": value for name, value in whole.items() if name != "share_read"}
        figures |= {f"{part}{name}_cascade": value for name, value in spared.items()}
        figures[f"{part}tokens_share"] = spared["tokens"] / whole["tokens"]
    print_report("cascade", figures, {"k": k, "most_lost": most_lost, "labels": len(labels), "cores": os.cpu_count()})


if __name__ == "__main__":
    main()
