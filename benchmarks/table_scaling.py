"""What a whole transition table costs, as the number of labels grows: hours, memory, and what was read.

    python benchmarks/table_scaling.py [--sizes 64 768] [--histories 4096] [--reading]

For N labels of the simulated world of 768 topics all N (N - 1) / 2 histories are planned, as the line does it: pools of
n = 25 draws (k = 5, T = 1.5) from the law of the label vectors, scores of a stack of 20 layers, and the k best of each.
Law and stack are fitted to synthetic transitions and feedback that follow the attributes of the topics, before the
clock starts. Every step is a process of its own, so that its peak of memory is its own. The scoring of each table is
killed in the middle and resumes; ``resumed_same`` tells that the shard in which it was killed, and the one before it,
are what they are when scored again.

``--histories`` plans that many of the histories alone, in runs of 32 neighbours spread over all; hours are then
projected. ``--reading`` leaves label vectors out of the stack: the language model reads the candidates that can win.
``--words`` plans with a model that writes labels token by token, and reads all candidates. Prints one JSON object as
its last line.
"""

import argparse
import os
import shutil
import signal
import tempfile
import time
from math import comb
from pathlib import Path

import numpy as np
import polars as pl
from synthetic.devices import add_device
from synthetic.faceted_platform import faceted_platform
from synthetic.feedback_cells import feedback_cells
from synthetic.processes import in_a_process, start_process
from synthetic.report import print_report
from synthetic.transitions import histories_of, transitions, tuned_novelty_model

SIZES = (32, 64, 128, 256, 768)
REFERENCE = 768
K, DRAWS, TEMPERATURE = 5, 25, 1.5
LAYERS = 20
MOST_LOST = 0.01  # the default of candidates.most_lost
HISTORIES_PER_SHARD = 2048
TRANSITIONS, TAUGHT_HISTORIES, SERVED = 20_000, 800, 30
WORDS_EXAMPLES = 8000


def prepare(folder, labels, attributes, words, reading):
    """The novelty model and the alignment model of a table."""
    from models.language.base_model import materialize_base_model
    from models.novelty.label_vectors import train_label_vectors

    base = folder / "base"
    if not base.exists():
        materialize_base_model(base, None)
    if words:
        tuned_novelty_model(folder, labels, transitions(WORDS_EXAMPLES, attributes, 0), print)
    elif not (folder / "novelty").exists():
        rows = transitions(TRANSITIONS, attributes, 0)
        taught, validation = rows.filter(pl.col("split") == "train"), rows.filter(pl.col("split") != "train")
        started = time.perf_counter()
        train_label_vectors(base, labels, taught, validation, print).save(folder / "novelty")
        print(f"the law of {len(labels)} labels took {time.perf_counter() - started:.0f} s", flush=True)
    if not (folder / "alignment").exists():
        cells = feedback_cells(TAUGHT_HISTORIES, SERVED, attributes, 0)
        train_stack(base, folder / "alignment", labels, cells, label_vectors=not (words or reading))


def train_stack(base, output, labels, examples, *, label_vectors):
    """The pretrained body under a fitted head, with affinities: steps of training do not change what reading costs."""
    from alignrec_assets.assets.checkpoints import alignment_options
    from alignrec_assets.settings.schema import Settings
    from models.alignment.examples import group_by_history, with_raw_rates
    from models.alignment.trainer import AlignmentTrainer
    from models.interests.item_embeddings import text_vectors

    chosen = {"layers": LAYERS, "head_histories": TAUGHT_HISTORIES, "label_vectors": label_vectors}
    options = alignment_options(Settings(alignment=chosen))
    served = group_by_history(with_raw_rates(examples), len(labels))
    trainer = AlignmentTrainer(base, labels, options, K, label_embeddings=text_vectors(labels))
    trainer.evaluate(served["train"], served["validation"], 0, None, print)
    trainer.calibrate(examples.filter(pl.col("split") == "train"), served["validation"])
    trainer.save(output)


def draw(folder, labels, histories, engine):
    from models.candidates.candidate_pools import PoolSampler
    from models.candidates.pool_engines import PoolOptions
    from models.candidates.pool_shards import draw_in_shards

    options = PoolOptions(engine, DRAWS, K, TEMPERATURE, most_left_out=0.01, seed=0)
    draw_in_shards(
        PoolSampler(folder / "novelty", labels, options), histories, folder / "pools", HISTORIES_PER_SHARD, print
    )


def score(folder, labels, most_lost, shards="scored"):
    from models.alignment.scoring import CandidateScorer
    from models.candidates.pool_shards import read_candidates
    from models.candidates.scored_candidates import score_in_shards

    scorer = CandidateScorer(folder / "alignment", labels, "packed")
    drawn = read_candidates(folder / "pools").select("history", "cluster_id")
    return score_in_shards(drawn, scorer, folder / shards, HISTORIES_PER_SHARD, K, most_lost, print)


def plan(folder):
    from models.candidates.best_of_n import plan_transitions
    from models.candidates.pool_shards import read_candidates
    from models.candidates.scored_candidates import with_scores

    rows = plan_transitions(with_scores(read_candidates(folder / "pools"), folder / "scored"), "alignment_score", K)
    rows.write_parquet(folder / "table.parquet")
    return {"rows": rows.height, "histories": rows["history"].n_unique()}


def score_with_a_kill(folder, labels, most_lost, shards):
    """Score, kill the process when half of the shards are there, and go on: facts, seconds, peak, shards kept."""
    started = time.perf_counter()
    process, _ = start_process(_score_alone, folder, labels, most_lost)
    while process.is_alive() and len(made(folder)) < shards // 2:
        time.sleep(1)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    first = time.perf_counter() - started
    kept = len(made(folder))
    print(f"killed with {kept} of {shards} shards", flush=True)
    resumed = in_a_process(score, folder, labels, most_lost)
    return resumed.found, first + resumed.process_seconds, resumed.peak_gb, kept


def _score_alone(folder, labels, most_lost, _):
    score(folder, labels, most_lost)


def made(folder):
    return sorted((folder / "scored").glob("shard-*"))


def scored_again_the_same(folder, labels, most_lost, places):
    """Whether shards that are scored again, beside all others, are what they were."""
    shutil.rmtree(folder / "again", ignore_errors=True)
    shutil.copytree(folder / "scored", folder / "again")
    names = [made(folder)[place].name for place in places]
    for name in names:
        shutil.rmtree(folder / "again" / name)
    in_a_process(score, folder, labels, most_lost, "again")
    frames = [
        [pl.read_parquet(folder / part / name / "scored.parquet") for name in names] for part in ("scored", "again")
    ]
    return all(before.equals(after) for before, after in zip(*frames, strict=True))


def measure(folder, labels, histories, engine, most_lost):
    """Figures of one table, or of a part of it."""
    for name in ("pools", "scored"):
        shutil.rmtree(folder / name, ignore_errors=True)
    drawing = in_a_process(draw, folder, labels, histories, engine)
    shards = -(-len(histories) // HISTORIES_PER_SHARD)
    facts, seconds, peak, kept = score_with_a_kill(folder, labels, most_lost, shards)
    planning = in_a_process(plan, folder)
    found = {
        "histories": len(histories),
        "candidates": pl.scan_parquet(folder / "pools/*/pools.parquet").select(pl.len()).collect().item()
        / len(histories),
        **facts,
        "draw_seconds": drawing.process_seconds,
        "score_seconds": seconds,
        "plan_seconds": planning.process_seconds,
        "peak_gb": max(drawing.peak_gb, peak, planning.peak_gb),
        "draw_peak_gb": drawing.peak_gb,
        "score_peak_gb": peak,
        "plan_peak_gb": planning.peak_gb,
        "hours": (drawing.process_seconds + seconds + planning.process_seconds) / 3600,
    }
    if shards > 1:
        found["resumed_same"] = float(scored_again_the_same(folder, labels, most_lost, [max(kept - 1, 0), kept]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--histories", type=int, help="of each table; all by default")
    parser.add_argument("--reading", action="store_true", help="a stack without label vectors: the model reads")
    parser.add_argument("--words", action="store_true", help="labels are written token by token, all candidates read")
    parser.add_argument("--folder", type=Path, help="keeps models and tables for the next run")
    add_device(parser)
    chosen = parser.parse_args()
    all_labels, all_attributes = faceted_platform(print)
    figures = {}
    with tempfile.TemporaryDirectory() as temporary:
        for clusters in chosen.sizes:
            kind = "_words" if chosen.words else "_reading" if chosen.reading else ""
            folder = (chosen.folder or Path(temporary)).resolve() / f"{clusters}{kind}"
            folder.mkdir(parents=True, exist_ok=True)
            topics = np.linspace(0, REFERENCE, clusters, endpoint=False).astype(int)  # spread over all
            labels = [all_labels[topic] for topic in topics]
            in_a_process(prepare, folder, labels, all_attributes[topics], chosen.words, chosen.reading)
            whole = comb(clusters, 2)
            histories = histories_of(clusters, chosen.histories or whole)
            engine, most_lost = ("free", 0.0) if chosen.words else ("exact", MOST_LOST)
            found = measure(folder, labels, histories, engine, most_lost)
            found["hours"] *= whole / len(histories)
            print(clusters, {name: round(value, 4) for name, value in found.items()}, flush=True)
            figures |= {f"{name}_{clusters}": value for name, value in found.items()}
    if REFERENCE in chosen.sizes:
        figures["hours_reference"] = figures[f"hours_{REFERENCE}"]
        figures["peak_gb"] = figures[f"peak_gb_{REFERENCE}"]
    settings = {"k": K, "draws": DRAWS, "temperature": TEMPERATURE, "layers": LAYERS, "K": 2, "cores": os.cpu_count()}
    print_report(
        "table_scaling", figures, settings | {name: getattr(chosen, name) for name in ("words", "reading", "histories")}
    )


if __name__ == "__main__":
    main()
