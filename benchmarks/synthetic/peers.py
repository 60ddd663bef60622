"""Peers at their best: every core, the allocator and the OpenMP library that their guides advise, and their best batch.

The guides of vLLM and of PyTorch for processors both advise TCMalloc and Intel's OpenMP library. Both have to be there
before anything else is loaded, so a peer has a process of its own, which starts with LD_PRELOAD. One that is absent is
told, and the peer runs without it. What a process really got is read from the running process.
"""

import os
import sys
from ctypes.util import find_library
from functools import cache
from pathlib import Path

import psutil
from synthetic.processes import in_a_process

ALLOCATOR, OPENMP = "libtcmalloc_minimal.so.4", "libiomp5.so"
HOW_TO_INSTALL = {ALLOCATOR: "`apt-get install libtcmalloc-minimal4`", OPENMP: "`make vllm` or `make bench`"}


def cores():
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def every_core():
    """Environment of an arm of the project: one thread for each core, and nothing else."""
    return {"OMP_NUM_THREADS": str(len(cores()))}


def at_its_best():
    """Environment of a peer. vLLM keeps a core for its front end unless its threads are bound to all of them."""
    return every_core() | {
        "LD_PRELOAD": ":".join(_preloaded()),
        "VLLM_CPU_KVCACHE_SPACE": "8",  # gigabytes: 2 hold 728 sequences at once
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores())),
    }


@cache
def _preloaded():
    """The libraries that this machine has."""
    in_environment = Path(sys.prefix) / "lib" / OPENMP
    found = {
        ALLOCATOR: find_library("tcmalloc_minimal"),
        OPENMP: str(in_environment) if in_environment.exists() else find_library("iomp5"),
    }
    for library, place in found.items():
        if place is None:
            told = f"{library} is absent, so the peers run without it: {HOW_TO_INSTALL[library]} installs it"
            print(told, file=sys.stderr, flush=True)
    return [place for place in found.values() if place is not None]


def libraries(process="self"):
    """The allocator and the OpenMP library of a running process."""
    maps = (Path("/proc") / str(process) / "maps").read_text(encoding="utf-8")
    return {
        "allocator": "tcmalloc" if "libtcmalloc" in maps else "glibc",
        "openmp": "libiomp5" if "libiomp5" in maps else "libgomp",
    }


def given(process=None):
    """What this process has, or another one whose threads are bound: threads, cores they are bound to, libraries."""
    import torch

    tasks = (Path("/proc") / str(process or "self") / "task").iterdir()
    masks = [os.sched_getaffinity(int(task.name)) for task in tasks]
    bound = sorted({core for allowed in masks if len(allowed) == 1 for core in allowed})
    threads = len(bound) if process else torch.get_num_threads()
    return {"threads": threads, "bound_cores": bound} | libraries(process or "self")


def vllm_batches(sizes):
    """Each number of sequences at once, with vLLM's engine in processes of its own (its default) and without.

    By its source the scheduler does not sleep when idle, which may cost the worker time on two cores: both are tried.
    """
    return [(size, apart) for size in sizes for apart in (True, False)]


def open_vllm(folder, batch, **options):
    """vLLM with the model of a folder, for one of ``vllm_batches``."""
    sequences, apart = batch
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(apart))
    from vllm import LLM

    from models.language.vllm_engine import vllm_dtype

    # Compilation (enforce_eager=False) was not ready after four minutes on a busy machine.
    dtype = vllm_dtype(folder)
    return LLM(str(folder), enforce_eager=True, dtype=dtype, max_num_seqs=sequences, seed=0, **options)


def close_vllm(llm):
    """End the engine; returns what was given to it: to the process that computed most, of this one and its children."""
    me = psutil.Process()
    worker = max([me, *me.children(recursive=True)], key=lambda process: process.cpu_times().user)
    had = given() if worker.pid == me.pid else given(worker.pid)
    llm.llm_engine.engine_core.shutdown()
    return had


def at_best_batch(work, batches, *arguments):
    """``work(batch, *arguments)`` of a peer at each batch, each in a process: what the fastest found.

    The work returns a dictionary with its ``seconds`` and what it was ``given``; the batch is added to the latter.
    """
    found = {}
    for batch in batches:
        found[batch] = in_a_process(work, batch, *arguments, environment=at_its_best()).found
        print(f"{work.__name__}, batch {batch}: {found[batch]['seconds']:.1f} s", flush=True)
    tried = told({batch: facts["seconds"] for batch, facts in found.items()})
    best = found[tried["batch"]]
    return best | {"given": best["given"] | tried}


def told(seconds):
    """The best of the batches, and the seconds of all of them, as settings of a report."""
    best = min(seconds, key=lambda batch: seconds[batch])
    return {"batch": best, "seconds_by_batch": {str(batch): round(value, 3) for batch, value in seconds.items()}}
