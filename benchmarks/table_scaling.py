"""What a platform-sized table costs: draws and scores per history, and memory, as the number of labels grows.

    python benchmarks/table_scaling.py [--histories 2000] [--engine free]

For N = 32 to 768 labels of the simulated world of 768 topics the embedded model is tuned on synthetic transitions,
pools of n = 25 draws (k = 5) are drawn, and all their clusters are scored by a model of the profile's depth with a
random head. Histories are pairs of clusters in runs of 32 neighbours, spread over all pairs, as the shards of a table
are; of the 768 labels at least 2,000, of the smaller ones 128. The projection for a table of the size of the profile
``reference`` (294,528 histories; the profile has 761 labels) is their mean cost times the number of histories.

``share_of_limit`` is the arithmetic that the tokens of one history need (two operations for each weight that a token
meets) at the rate of one large matrix product of the models' type, measured before and after, over the time that was
taken. Prints one JSON object as its last line.
"""

import argparse
import multiprocessing
import tempfile
import time
from math import comb
from pathlib import Path

import numpy as np
import torch
from synthetic.faceted_platform import faceted_platform
from synthetic.report import print_report
from synthetic.transitions import histories_of, transitions, tuned_novelty_model

from models.language.language_model import arithmetic

SIZES = (32, 64, 128, 256, 768)
REFERENCE = 768
K, DRAWS = 5, 25
TEMPERATURE = 1.5
LEAST_HISTORIES = 128
WARM_UP = 32


def matrix_rate(size=2048, repeats=8):
    """Operations per second of a large product in the arithmetic that half-precision models are computed in."""
    left, right = torch.randn(2, size, size).to(arithmetic(torch.bfloat16))
    left @ right
    started = time.perf_counter()
    for _ in range(repeats):
        left @ right
    return 2 * size**3 * repeats / (time.perf_counter() - started)


class TokenCount:
    """Counts the tokens that a model reads, padding included, by a hook on its body."""

    def __init__(self, model):
        self.tokens = 0
        model.base_model.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, module, arguments, named):  # noqa: ARG002
        self.tokens += named["input_ids"].numel()


def draw(folder, labels, histories, engine):
    from models.candidates.candidate_pools import PoolSampler
    from models.candidates.pool_engines import PoolOptions

    sampler = PoolSampler(
        folder / "novelty", labels, PoolOptions(engine, DRAWS, K, TEMPERATURE, most_left_out=0.01, seed=0)
    )
    sampler.draw(histories[:WARM_UP])
    counted = TokenCount(sampler.engine.expander.model)
    started = time.perf_counter()
    drawn = sampler.draw(histories, print)
    seconds = time.perf_counter() - started
    weights = sum(weight.numel() for weight in sampler.engine.expander.model.parameters())
    grouped = drawn.candidates.group_by("history", maintain_order=True).agg("cluster_id")
    return (
        seconds,
        counted.tokens,
        2 * weights,
        grouped["cluster_id"].to_list(),
        drawn.distributions["format_validity"].mean(),
    )


def score(folder, labels, histories, candidates, layers):
    from models.alignment.candidate_reader import CandidateReader
    from models.language.language_model import load_tokenizer, new_scoring_model

    reader = CandidateReader(new_scoring_model(folder / "base", 0, layers), load_tokenizer(folder / "base"), labels)
    reader.all_logits(histories[:WARM_UP], candidates[:WARM_UP])
    counted = TokenCount(reader.model)
    started = time.perf_counter()
    reader.all_logits(histories, candidates, print)
    body = reader.model.base_model
    weights = sum(w.numel() for w in body.parameters()) - body.get_input_embeddings().weight.numel()
    return time.perf_counter() - started, counted.tokens, 2 * weights


def measure(connection, folder, labels, count, engine, layers, threads):
    from models.progress import peak_gigabytes

    torch.set_num_threads(threads)
    histories = histories_of(len(labels), count)
    rate = matrix_rate()
    draw_seconds, draw_tokens, draw_cost, candidates, validity = draw(folder, labels, histories, engine)
    score_seconds, score_tokens, score_cost = score(folder, labels, histories, candidates, layers)
    rate = (rate + matrix_rate()) / 2
    count = len(histories)
    connection.send(
        {
            "histories": count,
            "draw_seconds": draw_seconds / count,
            "score_seconds": score_seconds / count,
            "draw_tokens": draw_tokens / count,
            "score_tokens": score_tokens / count,
            "candidates": sum(map(len, candidates)) / count,
            "format_validity": validity,
            "limit_seconds": (draw_tokens * draw_cost + score_tokens * score_cost) / rate / count,
            "peak_gb": peak_gigabytes(),
        }
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=2000, help=f"of {REFERENCE} labels")
    parser.add_argument("--engine", choices=["pruned", "free"], default="free")
    parser.add_argument("--layers", type=int, default=20, help="of the scoring model; by default those of the profile")
    parser.add_argument("--examples", type=int, default=4000, help=f"of a model; twice as many for {REFERENCE} labels")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--folder", type=Path, help="keeps the tuned models for the next run")
    chosen = parser.parse_args()
    threads = torch.get_num_threads()
    context = multiprocessing.get_context("spawn")
    all_labels, all_attributes = faceted_platform(print)
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        for clusters in chosen.sizes:
            folder = (chosen.folder or Path(temporary)) / str(clusters)
            topics = np.linspace(0, REFERENCE, clusters, endpoint=False).astype(int)  # spread over all
            labels = [all_labels[topic] for topic in topics]
            examples = transitions(chosen.examples * (1 + (clusters == REFERENCE)), all_attributes[topics], 0)
            tuned_novelty_model(folder, labels, examples, print)
            count = chosen.histories if clusters == REFERENCE else LEAST_HISTORIES
            mine, theirs = context.Pipe()
            arguments = (theirs, folder, labels, count, chosen.engine, chosen.layers, threads)
            process = context.Process(target=measure, args=arguments)  # of its own, as is its peak of memory
            process.start()
            theirs.close()
            found[clusters] = mine.recv()
            process.join()
            print(clusters, {name: round(value, 4) for name, value in found[clusters].items()}, flush=True)
    figures = {f"{name}_{size}": value for size, facts in found.items() for name, value in facts.items()}
    if REFERENCE in found:
        facts = found[REFERENCE]
        seconds = facts["draw_seconds"] + facts["score_seconds"]
        figures["projected_hours_reference"] = seconds * comb(REFERENCE, 2) / 3600
        figures["share_of_limit"] = facts["limit_seconds"] / seconds
    print_report(
        "table_scaling",
        figures,
        {
            "k": K,
            "draws": DRAWS,
            "temperature": TEMPERATURE,
            "engine": chosen.engine,
            "layers": chosen.layers,
            "threads": threads,
            "examples": chosen.examples,
            "K": 2,
        },
    )


if __name__ == "__main__":
    main()
