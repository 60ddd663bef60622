"""Scoring candidates by the alignment model: this project against vLLM's classify and batched transformers.

    python benchmarks/alignment_scoring.py [--histories 64] [--candidates 20]     (after `make vllm`)

One checkpoint (the embedded model with a head), the same pairs of history and candidate, the same tokens, bfloat16 and
the same number of threads. transformers reads the pairs sorted by length in batches of 128, padded to the longest; vLLM
caches prefixes. Each arm has a process of its own, and is timed without loading and after a short warm-up, this
project's before and after the peers. Prints one JSON object as its last line.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from synthetic.fair_vllm import give_all_cores
from synthetic.report import print_report
from synthetic.transitions import histories_of, labels_of

CLUSTERS = 64
ROWS_PER_BATCH = 128


def prepare(folder):
    """The embedded model with a random head: speed does not depend on what it learned."""
    from models.language.base_model import materialize_base_model
    from models.language.language_model import load_tokenizer, new_scoring_model, save_checkpoint

    materialize_base_model(folder / "base", None)
    save_checkpoint(
        new_scoring_model(folder / "base", seed=1, layers=None), load_tokenizer(folder / "base"), folder / "alignment"
    )


def pairs_of(histories, candidates):
    rng = np.random.default_rng(0)
    return [
        rng.choice([c for c in range(CLUSTERS) if c not in history], candidates, replace=False).tolist()
        for history in histories
    ]


def row_tokens(folder, histories, candidates):
    """Prompt and candidate of every pair, exactly as this project reads them."""
    from models.alignment.candidate_reader import CandidateReader
    from models.language.prompts import alignment_prompt, prompt_tokens

    reader = CandidateReader.open(folder / "alignment", labels_of(CLUSTERS))
    rows = []
    for history, clusters in zip(histories, candidates, strict=True):
        prompt = prompt_tokens(reader.tokenizer, alignment_prompt([reader.labels[c] for c in history]))
        rows += [prompt + reader.tokens[cluster] for cluster in clusters]
    return reader, rows


def own_arm(folder, histories, candidates):
    from models.alignment.candidate_reader import CandidateReader

    reader = CandidateReader.open(folder / "alignment", labels_of(CLUSTERS))
    reader.all_logits(histories[:8], candidates[:8])
    started = time.perf_counter()
    logits = reader.all_logits(histories, candidates)
    return time.perf_counter() - started, np.concatenate(logits)


def transformers_arm(folder, histories, candidates):
    reader, rows = row_tokens(folder, histories, candidates)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    logits = np.zeros(len(rows))

    def score(part):
        width = max(len(rows[row]) for row in part)
        ids = torch.tensor([rows[row] + [0] * (width - len(rows[row])) for row in part])
        mask = torch.tensor([[1] * len(rows[row]) + [0] * (width - len(rows[row])) for row in part])
        hidden = reader.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        ends = mask.sum(dim=1) - 1
        logits[part] = (hidden[torch.arange(len(part)), ends].float() @ reader.head.float().squeeze(0)).numpy()

    with torch.inference_mode():
        score(order[:ROWS_PER_BATCH])
        started = time.perf_counter()
        for at in range(0, len(order), ROWS_PER_BATCH):
            score(order[at : at + ROWS_PER_BATCH])
    return time.perf_counter() - started, logits


def vllm_arm(folder, histories, candidates):
    give_all_cores(torch.get_num_threads())
    from vllm import LLM

    from models.language.vllm_engine import vllm_dtype

    _, rows = row_tokens(folder, histories, candidates)
    dtype = vllm_dtype(folder / "alignment")
    llm = LLM(str(folder / "alignment"), runner="pooling", enforce_eager=True, dtype=dtype, max_model_len=128)
    prompts = [{"prompt_token_ids": row} for row in rows]
    llm.classify(prompts[:64], use_tqdm=False)
    started = time.perf_counter()
    found = llm.classify(prompts, use_tqdm=False)
    seconds = time.perf_counter() - started
    llm.llm_engine.engine_core.shutdown()
    chances = np.array([each.outputs.probs[0] for each in found], dtype=np.float64)
    return seconds, np.log(chances / (1 - chances))


ARMS = {"own": own_arm, "transformers": transformers_arm, "vllm": vllm_arm}


def run_arm(connection, name, threads, *arguments):
    torch.set_num_threads(threads)
    connection.send(ARMS[name](*arguments))


def measure(name, threads, folder, histories, candidates):
    """Run one arm in a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=run_arm, args=(theirs, name, threads, folder, histories, candidates))
    process.start()
    theirs.close()
    try:
        seconds, logits = mine.recv()
    except EOFError:
        sys.exit(f"the arm {name} failed, see above")
    process.join(timeout=30)
    process.kill()  # vLLM's own processes may outlive their work
    print(f"{name:<14} {seconds:8.1f} s   {len(logits) / seconds:8.1f} pairs/s", flush=True)
    return seconds, logits


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=64)
    parser.add_argument("--candidates", type=int, default=20)
    chosen = parser.parse_args()
    if find_spec("vllm") is None:
        sys.exit("vLLM is missing: run `make vllm` first")
    threads = torch.get_num_threads()
    histories = histories_of(CLUSTERS, chosen.histories)
    candidates = pairs_of(histories, chosen.candidates)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        arguments = (threads, folder, histories, candidates)
        first, own = measure("own", *arguments)
        seconds, differences = {}, {}
        for peer in ("transformers", "vllm"):
            seconds[peer], logits = measure(peer, *arguments)
            differences[peer] = float(np.abs(logits - own).max() / own.std())
        second, _ = measure("own", *arguments)
    own_seconds = (first + second) / 2
    figures = {
        "ratio_vs_vllm": seconds["vllm"] / own_seconds,
        "ratio_vs_transformers": seconds["transformers"] / own_seconds,
        "ratio_vs_best_peer": min(seconds.values()) / own_seconds,
        "pairs_per_second": len(own) / own_seconds,
        **{f"{peer}_pairs_per_second": len(own) / value for peer, value in seconds.items()},
        **{f"{peer}_largest_difference": value for peer, value in differences.items()},
    }
    settings = {"labels": CLUSTERS, "histories": len(histories), "candidates": chosen.candidates, "threads": threads}
    print_report("alignment_scoring", figures, settings)


if __name__ == "__main__":
    main()
