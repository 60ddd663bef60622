"""What tests share: a tiny language model with a tokenizer of its own, and a home on which the line has run."""

import os
import shutil
import signal
import sys
from dataclasses import astuple
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Inherited from a shell that runs the tests in the background: commands under test must hear Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from support.line import command, simulate, write_random_feedback
from support.robustness import ComesOut, known_kind, write_page
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from alignrec_assets.home import Home
from alignrec_assets.settings.sources import update_settings_file

settings.register_profile("any machine", settings.default, deadline=None)  # a busy one takes three times as long
settings.load_profile("any machine")
OUTCOME = pytest.StashKey[int]()
COMES_OUT = pytest.StashKey[set[ComesOut]]()
CORPUS = [
    "Interests: wildlife nature documentary; cooking recipes\nNext: football goals",
    "Interests: jazz piano; space astronomy planets\nOffer: chess openings strategy",
    "wild life card cards board boards garden gardening",
]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE that opens every text with <s>, so that any text, in any script, has tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """A model this small gains nothing from a second thread, and loses much where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def save_tiny_model(folder, head_size=8):
    """A random, four-layer Llama in float32 with its tokenizer: about 50,000 weights with heads of 8."""
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=4 * head_size,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,  # far from uniform, so that an error in the mask or the positions shows
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory):
    """Only to be read."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session")
def vllm_model_folder(tmp_path_factory):
    """A tiny model that vLLM reads too: on a CPU its heads are multiples of 32. Only to be read."""
    return save_tiny_model(tmp_path_factory.mktemp("vllm_model"), head_size=32)


@pytest.fixture(scope="session")
def line_home(tmp_path_factory, tiny_model_folder):
    """A home on which the line has run twice: by novelty alone, then with random feedback. Do not change it.

    Building it takes 45 s on a core: all processes of tests share the one that the first of them makes.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    home = Home(folder / "line")
    with FileLock(folder / "line.lock"):
        if not (home.reports / "second.txt").exists():
            build_line_home(home, tiny_model_folder)
    return home


def build_line_home(home, model_folder):
    simulate(home, model_folder)
    first = command(home.path, "alignrec", "run")
    write_random_feedback(home)
    # Four test histories prove nothing; that auto would rank by novelty alone is told by a test of its own.
    update_settings_file(home, {"publication": {"ranking": "alignment"}})
    second = command(home.path, "alignrec", "run")
    home.reports.joinpath("first.txt").write_text(first.stdout)
    home.reports.joinpath("second.txt").write_text(second.stdout)


@pytest.fixture
def copied_home(line_home, tmp_path):
    """A copy of that home, to change."""
    shutil.copytree(line_home.path, tmp_path / "home", symlinks=True)
    return Home(tmp_path / "home")


@pytest.fixture
def comes_out(request):
    """Tell docs/robustness.md what comes out of an input of a kind; call it after what is told was asserted."""

    def tell(kind, given, result):
        assert known_kind(kind), f"{kind} is no kind of tests/support/robustness.py"
        request.config.stash[COMES_OUT].add(ComesOut(kind, given, result))

    return tell


def pytest_addoption(parser):
    parser.addoption("--robustness", metavar="PAGE", type=Path, help="run the tests that tell this page, and write it")


def pytest_configure(config):
    config.stash[COMES_OUT] = set()


def pytest_collection_modifyitems(config, items):
    if config.option.robustness:
        items[:] = [item for item in items if "comes_out" in item.fixturenames]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Collect what a process of tests has told."""
    rows = getattr(node, "workeroutput", {}).get("comes_out", [])
    node.config.stash[COMES_OUT] |= {ComesOut(*row) for row in rows}


def pytest_sessionfinish(session, exitstatus):
    """Remember the outcome for the very end, and write the page where all its tests passed."""
    session.config.stash[OUTCOME] = int(exitstatus)
    rows = session.config.stash[COMES_OUT]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["comes_out"] = [astuple(row) for row in rows]
    elif session.config.option.robustness and not exitstatus:
        write_page(session.config.option.robustness, rows)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Leave at once, as the command line does: at a normal exit duckdb's binding prints 40 lines about live objects."""
    outcome = config.stash.get(OUTCOME, pytest.ExitCode.INTERNAL_ERROR)
    if outcome != pytest.ExitCode.USAGE_ERROR:  # which pytest tells afterwards, such as a file that is missing
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(outcome)
