"""Would 8-bit products pay? Time and effect of int8 weights and activations, beside bfloat16 and float32.

    python benchmarks/smaller_arithmetic.py [--histories 32]

Linear layers of the decoder become products of int8 weights (a scale for each output) and int8 activations (a scale for
each token, found on the fly), by oneDNN as torch ships it; the vocabulary head stays in bfloat16. The embedded model,
tuned on synthetic transitions, gives the exact distribution over 64 labels at T = 1.5; with a random head it scores 20
candidates of each history. Both are compared with float32. Prints one JSON object as its last line.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from synthetic.devices import add_device
from synthetic.report import print_report
from synthetic.transitions import attributes_of, histories_of, labels_of, transitions, tuned_novelty_model
from torch import nn

from models.alignment.candidate_reader import CandidateReader
from models.language.language_model import load_causal_model, load_tokenizer, new_scoring_model
from models.novelty.label_distribution import label_log_probabilities, renormalise

CLUSTERS = 64
CANDIDATES = 20
TEMPERATURE = 1.5
ROWS_AT_ONCE = 512  # what is quantised stays in the cache until it is multiplied
WARM_UP = 16


class Int8Linear(nn.Module):
    """y = s_x s_w (q_x q_w), q in -127 .. 127, s_x by token, s_w by output."""

    def __init__(self, linear):
        super().__init__()
        weight = linear.weight.detach().float()
        self.scale = weight.abs().amax(1).clamp_min(1e-12) / 127
        quantised = (weight / self.scale[:, None]).round().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(quantised, None)
        self.zero = torch.zeros(len(weight), dtype=torch.int64)

    def forward(self, states):
        rows = states.reshape(-1, states.shape[-1])
        result = torch.cat([self.product(part) for part in rows.split(ROWS_AT_ONCE)])
        return result.view(*states.shape[:-1], -1)

    def product(self, rows):
        scale = rows.abs().amax(1, keepdim=True).float().clamp_min(1e-8) / 127
        quantised = (rows / scale).round_().add_(128).to(torch.uint8)
        product = torch.ops.onednn.qlinear_pointwise(
            quantised, 1.0, 128, self.packed, self.scale, self.zero, None, 1.0, 0, rows.dtype, "none", [], ""
        )
        return product * scale.to(rows.dtype)


def in_arithmetic(model, name):
    if name == "float32":
        return model.float()
    if name == "int8":
        for path, module in list(model.base_model.named_modules()):
            if isinstance(module, nn.Linear):
                model.base_model.set_submodule(path, Int8Linear(module))
    return model


def label_laws(folder, name, histories):
    labels, tokenizer = labels_of(CLUSTERS), load_tokenizer(folder / "novelty")
    model = in_arithmetic(load_causal_model(folder / "novelty"), name)
    label_log_probabilities(model, tokenizer, labels, histories[:WARM_UP], [TEMPERATURE])
    started = time.perf_counter()
    values = label_log_probabilities(model, tokenizer, labels, histories, [TEMPERATURE])
    return time.perf_counter() - started, renormalise(values, histories)


def scores(folder, name, histories, candidates):
    model = in_arithmetic(new_scoring_model(folder / "base", seed=1, layers=None), name)
    reader = CandidateReader(model, load_tokenizer(folder / "base"), labels_of(CLUSTERS))
    reader.all_logits(histories[:WARM_UP], candidates[:WARM_UP])
    started = time.perf_counter()
    found = reader.all_logits(histories, candidates)
    return time.perf_counter() - started, np.stack(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=32)
    parser.add_argument("--examples", type=int, default=2500, help="transitions that the model is tuned on")
    parser.add_argument("--folder", type=Path, help="keeps the tuned model for the next run")
    add_device(parser)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    histories = histories_of(CLUSTERS, chosen.histories)
    candidates = [
        rng.choice(np.setdiff1d(np.arange(CLUSTERS), history), CANDIDATES, replace=False).tolist()
        for history in histories
    ]
    figures = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        tuned_novelty_model(
            folder, labels_of(CLUSTERS), transitions(chosen.examples, attributes_of(CLUSTERS), 0), print
        )
        _, true_law = label_laws(folder, "float32", histories)
        _, true_scores = scores(folder, "float32", histories, candidates)
        for name in ("bfloat16", "int8", "bfloat16", "int8"):  # twice in turn: the machine's speed varies
            law_seconds, law = label_laws(folder, name, histories)
            score_seconds, found = scores(folder, name, histories, candidates)
            variation = np.abs(law.probabilities - true_law.probabilities).sum(-1) / 2
            ranks = [spearmanr(*rows).statistic for rows in zip(found, true_scores, strict=True)]
            print(f"{name:<10} law {law_seconds:6.1f} s   scores {score_seconds:6.1f} s", flush=True)
            for figure, seconds in (("law_seconds", law_seconds), ("score_seconds", score_seconds)):
                figures[f"{name}_{figure}"] = figures.get(f"{name}_{figure}", 0.0) + seconds
            figures[f"{name}_total_variation"] = float(variation.mean())
            figures[f"{name}_format_validity_difference"] = float(
                (law.format_validity - true_law.format_validity).mean()
            )
            figures[f"{name}_rank_correlation"] = float(np.mean(ranks))
    for figure in ("law", "score"):
        figures[f"{figure}_speed_up"] = figures[f"bfloat16_{figure}_seconds"] / figures[f"int8_{figure}_seconds"]
    settings = {"labels": CLUSTERS, "histories": len(histories), "candidates": CANDIDATES, "temperature": TEMPERATURE}
    print_report("smaller_arithmetic", figures, settings | {"threads": torch.get_num_threads()})


if __name__ == "__main__":
    main()
