"""Drawing candidate pools: this project's engines against vLLM and against transformers' generate.

    python benchmarks/pool_sampling.py [--histories 48] [--draws 50]     (after `make vllm`)

The embedded model, tuned on synthetic transitions so that its samples are labels; 64 labels, real prompts, the default
temperature. Every arm has a process of its own with a thread for each core, and is timed without loading and after a
short warm-up. What each gives for n = 50: the project's engines n draws of valid labels per history, vLLM and generate
n samples, valid or not. ``label_vectors`` is the project's default: a law over the labels, fitted to the same
transitions, which draws by look-up. ``vllm_choice`` is vLLM's structured output over the labels. Peers run as
``synthetic/peers.py`` says, at several batches of which the fastest counts: samples at once for vLLM, prompts at once
for generate. Prints one JSON object as its last line.
"""

import argparse
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import torch
from synthetic.devices import add_device
from synthetic.peers import at_best_batch, close_vllm, every_core, given, open_vllm, vllm_batches
from synthetic.processes import in_a_process
from synthetic.report import print_report
from synthetic.transitions import attributes_of, histories_of, labels_of, transitions, tuned_novelty_model

CLUSTERS = 64
TEMPERATURE = 1.5
LAW = "label_vectors"
OWN = (LAW, "exact", "pruned", "free")
PROMPTS_AT_ONCE = (1, 4, 16)  # that are tried for generate
WAVES = (1, 3, 9)  # the batches of vLLM that are tried: all samples at once, a third of them, a ninth


def prompts_of(tokenizer, histories):
    from models.language.prompts import novelty_prompt, prompt_tokens

    labels = labels_of(CLUSTERS)
    return [prompt_tokens(tokenizer, novelty_prompt([labels[c] for c in history])) for history in histories]


def own_arm(engine, folder, histories, draws):
    from models.candidates.candidate_pools import PoolSampler
    from models.candidates.pool_engines import PoolOptions

    model, how = (folder / LAW, "exact") if engine == LAW else (folder / "novelty", engine)
    options = PoolOptions(how, draws, 3, TEMPERATURE, most_left_out=0.01, seed=0)
    sampler = PoolSampler(model, labels_of(CLUSTERS), options)
    sampler.draw(histories[:8])
    started = time.perf_counter()
    drawn = sampler.draw(histories)
    seconds = time.perf_counter() - started
    distributions = drawn.distributions
    return {
        "seconds": seconds,
        "given": given(),
        "left_out_at_most": distributions["left_out"].max(),
        "format_validity": distributions["format_validity"].mean(),
        "entropy": distributions["entropy"].mean(),
        "samples": int(drawn.candidates["draws"].sum()),
    }


def fit_law(folder, examples):
    """The law of the label vectors, once."""
    from models.novelty.label_vectors import train_label_vectors

    if not (folder / LAW).exists():
        taught, validation = examples.filter(pl.col("split") == "train"), examples.filter(pl.col("split") != "train")
        train_label_vectors(folder / "base", labels_of(CLUSTERS), taught, validation, print).save(folder / LAW)


def vllm_arm(batch, structured, folder, histories, draws):
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    from models.language.language_model import load_tokenizer
    from models.language.prompts import label_text, label_tokens

    tokenizer = load_tokenizer(folder / "novelty")
    labels = labels_of(CLUSTERS)
    longest = max(map(len, label_tokens(tokenizer, labels))) + 1
    llm = open_vllm(folder / "novelty", batch, max_model_len=128)
    choice = StructuredOutputsParams(choice=[label_text(label) for label in labels]) if structured else None
    # The engine has a seed. One of each request would cost it a stream of its own for each sample, and a stream steps
    # back where a prompt comes in two parts, which fails on a CPU (vLLM 0.32: "CPU Generator does not use offset").
    sampling = SamplingParams(
        n=draws, temperature=TEMPERATURE, max_tokens=longest, structured_outputs=choice, detokenize=structured
    )
    prompts = [{"prompt_token_ids": tokens} for tokens in prompts_of(tokenizer, histories)]
    llm.generate(prompts[:4], sampling, use_tqdm=False)
    started = time.perf_counter()
    found = llm.generate(prompts, sampling, use_tqdm=False)
    seconds = time.perf_counter() - started
    had = close_vllm(llm)
    return {"seconds": seconds, "given": had, "samples": sum(len(each.outputs) for each in found)}


def generate_arm(batch, folder, histories, draws):
    from models.language.language_model import load_causal_model, load_tokenizer
    from models.language.prompts import label_tokens

    tokenizer, model = load_tokenizer(folder / "novelty"), load_causal_model(folder / "novelty")
    longest = max(map(len, label_tokens(tokenizer, labels_of(CLUSTERS)))) + 1
    prompts = prompts_of(tokenizer, histories)
    end = tokenizer.eos_token_id

    def sample(part):
        width = max(map(len, part))
        ids = torch.tensor([[end] * (width - len(tokens)) + tokens for tokens in part]).to(model.device)
        mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in part]).to(ids.device)
        return model.generate(
            ids, attention_mask=mask, do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=1.0,
            num_return_sequences=draws, max_new_tokens=longest, pad_token_id=end,
        )  # fmt: skip

    with torch.inference_mode():
        sample(prompts[:1])
        started = time.perf_counter()
        samples = sum(len(sample(prompts[at : at + batch])) for at in range(0, len(prompts), batch))
    return {"seconds": time.perf_counter() - started, "given": given(), "samples": samples}


PEERS = ("vllm_choice", "vllm_free", "generate")


def measure(name, folder, histories, draws):
    """What one arm found."""
    arguments = folder, histories, draws
    if name in OWN:
        found = in_a_process(own_arm, name, *arguments, environment=every_core()).found
    elif name == "generate":
        found = at_best_batch(generate_arm, PROMPTS_AT_ONCE, *arguments)
    else:
        samples = len(histories) * draws
        batches = vllm_batches([-(-samples // waves) for waves in WAVES])
        found = at_best_batch(vllm_arm, batches, name == "vllm_choice", *arguments)
    print(f"{name:<13} {found['seconds']:8.2f} s   {found['samples'] / found['seconds']:8.0f} samples/s", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=48)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--examples", type=int, default=2500, help="transitions that the model is tuned on")
    parser.add_argument("--folder", type=Path, help="keeps the tuned model for the next run")
    add_device(parser)
    chosen = parser.parse_args()
    if find_spec("vllm") is None:
        sys.exit("vLLM is missing: run `make vllm` first")
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        examples = transitions(chosen.examples, attributes_of(CLUSTERS), 0)
        tuning = tuned_novelty_model(folder, labels_of(CLUSTERS), examples, print)
        in_a_process(fit_law, folder, examples)
        arguments = (folder, histories_of(CLUSTERS, chosen.histories), chosen.draws)
        arms = {name: measure(name, *arguments) for name in (*OWN, *PEERS)}
        again = {name: measure(name, *arguments) for name in OWN}  # the machine's speed changes within minutes
    seconds = {name: (arms[name]["seconds"] + again[name]["seconds"]) / 2 for name in OWN}
    seconds |= {name: arms[name]["seconds"] for name in PEERS}
    ratios = {f"{own}_vs_{peer}": seconds[peer] / seconds[own] for own in OWN for peer in PEERS}
    figures = {
        **ratios,
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **{f"{own}_{figure}": arms[own][figure] for own in OWN for figure in ("left_out_at_most", "format_validity")},
        "entropy": arms["exact"]["entropy"],
        **{f"tuning_{name}": tuning[name] for name in ("format_validity_tuned", "recall_at_5") if name in tuning},
    }
    print_report(
        "pool_sampling",
        figures,
        {
            "labels": CLUSTERS,
            "histories": chosen.histories,
            "draws": chosen.draws,
            "temperature": TEMPERATURE,
            "examples": chosen.examples,
            "given": {name: facts["given"] for name, facts in arms.items()},
        },
    )


if __name__ == "__main__":
    main()
