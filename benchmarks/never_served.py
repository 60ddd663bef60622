"""What ranks clusters that were never served: each head of a stack, on many choices of such clusters.

    .venv/bin/python benchmarks/never_served.py [--seeds 5] [--users 8000] [--days 14] [--choices 12]

The clusters that one training keeps out are few, and its figures hang on which they are. Here the pretrained model
reads all cells of each world once. Then, for many choices of a quarter of the clusters, the heads are fitted to the
other cells, and rank those that were kept out for the test histories. Three heads are on what the language model
reads: the one beside affinities (``beside_affinities``), one alone with its spread chosen on validation histories
(``alone``), and one whose penalty leaves clusters out (``reading``). The one that a stack uses (``never_served``)
chooses between the last and label vectors. NDCG@3: means over the worlds, and the standard deviation from world to
world; ``reading_chosen`` is how often the language model was chosen. Prints one JSON object as its last line.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from synthetic.processes import in_a_process
from synthetic.report import print_report
from synthetic.several_worlds import asked_worlds, summary
from synthetic.worlds import UNSEEN_SHARE, examples_of, run_days

from models.alignment.candidate_reader import CandidateReader
from models.alignment.examples import SPLITS, group_by_history
from models.alignment.joint_cells import JointCells
from models.alignment.joint_head import choose_spreads, fit_joint_head, spreads_of_head_alone
from models.alignment.never_served import fit_never_served
from models.evaluation.metrics import evaluate_ranking
from models.interests.item_embeddings import text_vectors
from models.language.language_model import load_tokenizer, new_scoring_model

HEADS = ("beside_affinities", "alone", "reading", "never_served", "random")


def parts(served, kept):
    """The histories with some of their cells alone, which are true in ``kept``; those without any are left out."""
    found, place = [], 0
    for row in served:
        own = np.flatnonzero(kept[place : place + len(row.clusters)])
        place += len(row.clusters)
        values = {name: getattr(row, name)[own] for name in ("scores", "weights", "rates", "impressions")}
        if len(own):
            found.append(replace(row, clusters=[row.clusters[index] for index in own], **values))
    return found


def ranked(served, states, vectors, k, out):
    """NDCG@k of each head on the clusters ``out``, which it is not fitted to."""
    labels = len(vectors)
    kept = {part: ~np.isin(np.concatenate([row.clusters for row in served[part]]), out) for part in SPLITS}
    cells = [
        JointCells.of(states[part][kept[part]], parts(served[part], kept[part]), labels)
        for part in ("train", "validation")
    ]
    with_vectors = replace(cells[0], vectors=vectors)
    used = fit_never_served(with_vectors, with_vectors)
    heads = {
        "beside_affinities": fit_joint_head(cells[0], choose_spreads(*cells, k)).head,
        "alone": fit_joint_head(cells[0], spreads_of_head_alone(*cells)).head,
        "reading": fit_never_served(cells[0], cells[0]).head,
        "never_served": used.head,
        "random": np.zeros(states["test"].shape[1]),
    }
    test, x = parts(served["test"], ~kept["test"]), states["test"][~kept["test"]]
    cuts = np.cumsum([len(row.clusters) for row in test])[:-1]
    scores = {name: np.split(x @ head, cuts) for name, head in heads.items()}
    told = used.label_words.scores([row.history for row in test], [row.clusters for row in test])
    scores["never_served"] = [read + said for read, said in zip(scores["never_served"], told, strict=True)]
    rates = [row.rates for row in test]
    found = {name: evaluate_ranking(values, rates, k).ndcg_at_k for name, values in scores.items()}
    return found | {"reading_chosen": float(used.head.any())}


def judged(folder, seed, users, days, choices):
    """Mean NDCG@k of each head over the choices, in one world."""
    examples, labels, base, settings = examples_of(run_days(folder, seed, users, days))
    served = group_by_history(examples, len(labels))
    layers = settings.alignment.layers
    reader = CandidateReader(new_scoring_model(base, 0, layers), load_tokenizer(base), labels)
    states = {
        part: reader.read([row.history for row in rows], [row.clusters for row in rows], print).array()
        for part, rows in served.items()
    }
    generator, vectors = np.random.default_rng(seed), text_vectors(labels).astype(np.float64)
    size = round(UNSEEN_SHARE * len(labels))
    found = [
        ranked(served, states, vectors, settings.candidates.k, generator.permutation(len(labels))[:size])
        for _ in range(choices)
    ]
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def main():
    chosen = asked_worlds(__doc__.splitlines()[0], choices=12)
    worlds = []
    for seed in range(chosen.seeds):
        with tempfile.TemporaryDirectory() as folder:
            arguments = Path(folder).resolve(), seed, chosen.users, chosen.days, chosen.choices
            found = in_a_process(judged, *arguments)
        worlds.append(found.found)
        print(f"world {seed}, {found.process_seconds:.0f} s: {found.found}", flush=True)
    figures = {"reading_chosen": float(np.mean([world["reading_chosen"] for world in worlds]))}
    for name in HEADS:
        figures |= summary(f"ndcg_at_k_{name}", [world[name] for world in worlds])
        leads = [world["never_served"] - world[name] for world in worlds]
        figures |= summary(f"lead_over_{name}", leads) if name != "never_served" else {}
    print_report("never_served", figures, vars(chosen))


if __name__ == "__main__":
    main()
