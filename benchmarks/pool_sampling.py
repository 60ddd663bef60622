"""Drawing candidate pools: this project's three engines against vLLM and against transformers' generate.

    python benchmarks/pool_sampling.py [--histories 200] [--draws 50]     (after `make vllm`)

The embedded model, tuned on synthetic transitions so that its samples are labels; 64 labels, real prompts, the default
temperature, the same number of threads. Every arm has a process of its own and is timed without loading and after a
short warm-up. What each gives for n = 50: the project's engines n draws of valid labels per history, vLLM and generate
n samples, valid or not. vLLM shares the prompt between the samples and caches prefixes; ``choice`` is its structured
output over the labels. generate reads four prompts at once. Prints one JSON object as its last line.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from synthetic.fair_vllm import give_all_cores
from synthetic.report import print_report
from synthetic.transitions import histories_of, labels_of, tuned_novelty_model

CLUSTERS = 64
TEMPERATURE = 1.5
OWN = ("exact", "pruned", "free")
PEERS = ("vllm_choice", "vllm_free", "generate")
PROMPTS_AT_ONCE = 4


def prompts_of(tokenizer, histories):
    from models.language.prompts import novelty_prompt, prompt_tokens

    labels = labels_of(CLUSTERS)
    return [prompt_tokens(tokenizer, novelty_prompt([labels[c] for c in history])) for history in histories]


def own_arm(engine, folder, histories, draws):
    from models.candidates.candidate_pools import PoolSampler
    from models.candidates.pool_engines import PoolOptions

    sampler = PoolSampler(
        folder / "novelty", labels_of(CLUSTERS), PoolOptions(engine, draws, 3, TEMPERATURE, most_left_out=0.01, seed=0)
    )
    sampler.draw(histories[:8])
    started = time.perf_counter()
    drawn = sampler.draw(histories)
    seconds = time.perf_counter() - started
    distributions = drawn.distributions
    return {
        "seconds": seconds,
        "left_out_at_most": distributions["left_out"].max(),
        "format_validity": distributions["format_validity"].mean(),
        "entropy": distributions["entropy"].mean(),
        "samples": int(drawn.candidates["draws"].sum()),
    }


def vllm_arm(structured, folder, histories, draws):
    give_all_cores(torch.get_num_threads())
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    from models.language.language_model import load_tokenizer
    from models.language.prompts import label_text, label_tokens
    from models.language.vllm_engine import vllm_dtype

    tokenizer = load_tokenizer(folder / "novelty")
    labels = labels_of(CLUSTERS)
    longest = max(map(len, label_tokens(tokenizer, labels))) + 1
    dtype = vllm_dtype(folder / "novelty")
    llm = LLM(str(folder / "novelty"), enforce_eager=True, dtype=dtype, max_model_len=128, seed=0)
    choice = StructuredOutputsParams(choice=[label_text(label) for label in labels]) if structured else None
    sampling = SamplingParams(
        n=draws, temperature=TEMPERATURE, max_tokens=longest, seed=0, structured_outputs=choice, detokenize=structured
    )
    prompts = [{"prompt_token_ids": tokens} for tokens in prompts_of(tokenizer, histories)]
    llm.generate(prompts[:4], sampling, use_tqdm=False)
    started = time.perf_counter()
    found = llm.generate(prompts, sampling, use_tqdm=False)
    seconds = time.perf_counter() - started
    llm.llm_engine.engine_core.shutdown()
    return {"seconds": seconds, "samples": sum(len(each.outputs) for each in found)}


def generate_arm(folder, histories, draws):
    from models.language.language_model import load_causal_model, load_tokenizer
    from models.language.prompts import label_tokens

    tokenizer, model = load_tokenizer(folder / "novelty"), load_causal_model(folder / "novelty")
    longest = max(map(len, label_tokens(tokenizer, labels_of(CLUSTERS)))) + 1
    prompts = prompts_of(tokenizer, histories)
    end = tokenizer.eos_token_id

    def sample(part):
        width = max(map(len, part))
        ids = torch.tensor([[end] * (width - len(tokens)) + tokens for tokens in part])
        mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in part])
        return model.generate(
            ids, attention_mask=mask, do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=1.0,
            num_return_sequences=draws, max_new_tokens=longest, pad_token_id=end,
        )  # fmt: skip

    with torch.inference_mode():
        sample(prompts[:1])
        started = time.perf_counter()
        samples = sum(len(sample(prompts[at : at + PROMPTS_AT_ONCE])) for at in range(0, len(prompts), PROMPTS_AT_ONCE))
    return {"seconds": time.perf_counter() - started, "samples": samples}


def run_arm(connection, name, folder, histories, draws, threads):
    torch.set_num_threads(threads)
    if name in OWN:
        found = own_arm(name, folder, histories, draws)
    elif name == "generate":
        found = generate_arm(folder, histories, draws)
    else:
        found = vllm_arm(name == "vllm_choice", folder, histories, draws)
    connection.send(found)


def measure(name, *arguments):
    """Run one arm in a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=run_arm, args=(theirs, name, *arguments))
    process.start()
    theirs.close()
    try:
        found = mine.recv()
    except EOFError:
        sys.exit(f"the arm {name} failed, see above")
    process.join(timeout=30)
    process.kill()  # vLLM's own processes may outlive their work
    print(f"{name:<12} {found['seconds']:8.1f} s   {found['samples'] / found['seconds']:8.0f} samples/s", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--examples", type=int, default=2500, help="transitions that the model is tuned on")
    parser.add_argument("--folder", type=Path, help="keeps the tuned model for the next run")
    chosen = parser.parse_args()
    if find_spec("vllm") is None:
        sys.exit("vLLM is missing: run `make vllm` first")
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        tuning = tuned_novelty_model(folder, CLUSTERS, chosen.examples, print)
        arguments = (folder, histories_of(CLUSTERS, chosen.histories), chosen.draws, threads)
        arms = {name: measure(name, *arguments) for name in (*OWN, *PEERS)}
        again = {name: measure(name, *arguments) for name in OWN}  # the machine's speed changes within minutes
    seconds = {name: (arms[name]["seconds"] + again[name]["seconds"]) / 2 for name in OWN}
    seconds |= {name: arms[name]["seconds"] for name in PEERS}
    ratios = {f"exact_vs_{peer}": seconds[peer] / seconds["exact"] for peer in PEERS}
    ratios |= {f"{own}_vs_{peer}": seconds[peer] / seconds[own] for own in ("pruned", "free") for peer in PEERS}
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
            "threads": threads,
            "examples": chosen.examples,
        },
    )


if __name__ == "__main__":
    main()
