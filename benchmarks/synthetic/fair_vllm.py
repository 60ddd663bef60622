"""vLLM on a CPU with the same cores as everybody else."""

import os


def give_all_cores(threads):
    """Call before vLLM is imported: by default it keeps one core for its front end, which is half of two."""
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "2"
    os.environ["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = f"0-{threads - 1}"
