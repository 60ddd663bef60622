"""Scoring candidates by the alignment model: this project against vLLM's classify and batched transformers.

    python benchmarks/alignment_scoring.py [--histories 64] [--candidates 20]     (after `make vllm`)

One checkpoint (the embedded model with a head), the same pairs of history and candidate, the same tokens, bfloat16 and
a thread for each core. Each arm has a process of its own, and is timed without loading and after a short warm-up, this
project's before and after the peers. Peers run as ``synthetic/peers.py`` says, at several batches of pairs of which
the fastest counts; transformers reads pairs sorted by length and padded to the longest. Prints one JSON object as its
last line.
"""

import argparse
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from synthetic.devices import add_device
from synthetic.peers import at_best_batch, close_vllm, every_core, given, open_vllm, vllm_batches
from synthetic.processes import in_a_process
from synthetic.report import print_report
from synthetic.transitions import histories_of, labels_of

CLUSTERS = 64


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
    return {"seconds": time.perf_counter() - started, "given": given(), "logits": np.concatenate(logits)}


def transformers_arm(batch, folder, histories, candidates):
    reader, rows = row_tokens(folder, histories, candidates)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    logits = np.zeros(len(rows))

    def score(part):
        width = max(len(rows[row]) for row in part)
        ids = torch.tensor([rows[row] + [0] * (width - len(rows[row])) for row in part]).to(reader.model.device)
        mask = torch.tensor([[1] * len(rows[row]) + [0] * (width - len(rows[row])) for row in part]).to(ids.device)
        hidden = reader.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        ends = mask.sum(dim=1) - 1
        ends = hidden[torch.arange(len(part), device=ids.device), ends].float()
        logits[part] = (ends @ reader.heads.float().squeeze(0)).cpu().numpy()

    with torch.inference_mode():
        score(order[:batch])
        started = time.perf_counter()
        for at in range(0, len(order), batch):
            score(order[at : at + batch])
    return {"seconds": time.perf_counter() - started, "given": given(), "logits": logits}


def vllm_arm(batch, folder, histories, candidates):
    _, rows = row_tokens(folder, histories, candidates)
    tokens = batch[0] * max(map(len, rows))
    llm = open_vllm(folder / "alignment", batch, runner="pooling", max_model_len=128, max_num_batched_tokens=tokens)
    prompts = [{"prompt_token_ids": row} for row in rows]
    llm.classify(prompts[:64], use_tqdm=False)
    started = time.perf_counter()
    found = llm.classify(prompts, use_tqdm=False)
    seconds = time.perf_counter() - started
    had = close_vllm(llm)
    chances = np.array([each.outputs.probs[0] for each in found], dtype=np.float64)
    return {"seconds": seconds, "given": had, "logits": np.log(chances / (1 - chances))}


PEERS = {"transformers": (transformers_arm, (32, 128, 512)), "vllm": (vllm_arm, vllm_batches((64, 256, 1280)))}
"""Arms, and the batches that are tried."""


def measure(name, *arguments):
    """Seconds, settings and logits of one arm."""
    if name in PEERS:
        found = at_best_batch(*PEERS[name], *arguments)
    else:
        found = in_a_process(own_arm, *arguments, environment=every_core()).found
    count = len(found["logits"])
    print(f"{name:<14} {found['seconds']:8.1f} s   {count / found['seconds']:8.1f} pairs/s", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=64)
    parser.add_argument("--candidates", type=int, default=20)
    add_device(parser)
    chosen = parser.parse_args()
    if find_spec("vllm") is None:
        sys.exit("vLLM is missing: run `make vllm` first")
    histories = histories_of(CLUSTERS, chosen.histories)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        arguments = (folder, histories, pairs_of(histories, chosen.candidates))
        arms = {name: measure(name, *arguments) for name in ("own", *PEERS)}
        again = measure("own", *arguments)
    own = arms["own"]["logits"]
    own_seconds = (arms["own"]["seconds"] + again["seconds"]) / 2
    seconds = {peer: arms[peer]["seconds"] for peer in PEERS}
    differences = {peer: float(np.abs(arms[peer]["logits"] - own).max() / own.std()) for peer in PEERS}
    figures = {
        "ratio_vs_vllm": seconds["vllm"] / own_seconds,
        "ratio_vs_transformers": seconds["transformers"] / own_seconds,
        "ratio_vs_best_peer": min(seconds.values()) / own_seconds,
        "pairs_per_second": len(own) / own_seconds,
        **{f"{peer}_pairs_per_second": len(own) / value for peer, value in seconds.items()},
        **{f"{peer}_largest_difference": value for peer, value in differences.items()},
    }
    settings = {"labels": CLUSTERS, "histories": len(histories), "candidates": chosen.candidates}
    settings["given"] = {name: facts["given"] for name, facts in arms.items()}
    print_report("alignment_scoring", figures, settings)


if __name__ == "__main__":
    main()
