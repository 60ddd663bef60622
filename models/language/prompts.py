"""What the language models read: the two prompts, the label texts, and their token sequences.

Prompts are plain text and short, because nearly all time goes into tokens. A prompt and a label are tokenised
separately and joined as ids, so every label has one token sequence under any tokenizer, whatever comes before it.
No tensors here.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

History = Sequence[int]
READ_AFTER = "\n"


def label_text(label: str) -> str:
    """The label as the models read it: one space before each word, as most tokenizers join it to the word, no commas.

    The commas between keywords carry no information and would be a third of all tokens.
    """
    return "".join(f" {word}" for word in label.replace(",", " ").split())


def words_that_differ(label: str) -> frozenset[str]:
    """What tells a label from others under any tokenizer: labels that differ here differ in their tokens.

    Tokenizers may ignore case, accents, forms of one character and punctuation. The order of words
    does not count either: a model could read it, but people take labels of the same words for one.
    """
    decomposed = unicodedata.normalize("NFKD", label.casefold())
    return frozenset(re.findall(r"\w+", "".join(c for c in decomposed if unicodedata.category(c) != "Mn")))


def novelty_prompt(labels: Sequence[str]) -> str:
    """The text after which the novelty model continues with the label of a new interest.

    Args:
        labels: the K cluster labels that describe a user, in the order to be shown.
    """
    return f"Interests:{';'.join(map(label_text, labels))}\nNext:"


def alignment_prompt(labels: Sequence[str]) -> str:
    """The text before the candidate label that the alignment model scores.

    Args:
        labels: the K cluster labels that describe a user, in the order to be shown.
    """
    return f"Interests:{';'.join(map(label_text, labels))}\nOffer:"


def next_prompt() -> str:
    """The text after which a label is read by itself, as the next interest of nobody in particular."""
    return "Next:"


def terminator(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The id of the end-of-sequence token, which ends every label.

    Raises:
        ValueError: the tokenizer has none.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end-of-sequence token to end a label with: choose another base model")
    return int(tokenizer.eos_token_id)


def prompt_tokens(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> list[int]:
    """Token ids of a prompt with the tokenizer's own opening tokens; a closing end-of-sequence token is dropped."""
    tokens: list[int] = list(tokenizer(prompt).input_ids)
    while tokens and tokens[-1] == tokenizer.eos_token_id:
        tokens.pop()
    return tokens


def label_tokens(tokenizer: "PreTrainedTokenizerBase", labels: Sequence[str]) -> list[list[int]]:
    """Token ids of every label, without special tokens and without the terminator.

    Args:
        tokenizer: any tokenizer with an end-of-sequence token.
        labels: the label of cluster i at index i.

    Raises:
        ValueError: there are no labels, a label is empty, holds the terminator, or has the tokens of another label.
    """
    if not labels:
        raise ValueError("there are no cluster labels: cluster the items first")
    end = terminator(tokenizer)
    owner: dict[tuple[int, ...], int] = {}
    for cluster, label in enumerate(labels):
        tokens = tuple(tokenizer(label_text(label), add_special_tokens=False).input_ids) if label_text(label) else ()
        if not tokens:
            raise ValueError(f"the label of cluster {cluster} is empty: give it a text")
        if end in tokens:
            raise ValueError(f"the label of cluster {cluster}, {label!r}, holds the token that ends labels: change it")
        if tokens in owner:
            twin = owner[tokens]
            raise ValueError(
                f"clusters {twin} and {cluster} have labels with the same tokens, {labels[twin]!r} and {label!r}: make "
                "the labels anew with `alignrec recluster`, or choose a base model whose tokenizer tells them apart"
            )
        owner[tokens] = cluster
    return [list(tokens) for tokens in owner]


def tokens_to_read(tokenizer: "PreTrainedTokenizerBase", labels: Sequence[str]) -> list[list[int]]:
    """Token ids of every label with the line break at which it is read: the last word's state describes that word."""
    line_break = tokenizer(READ_AFTER, add_special_tokens=False).input_ids
    return [[*tokens, *line_break] for tokens in label_tokens(tokenizer, labels)]


def check_histories(histories: Sequence[History], clusters: int) -> None:
    """Check that every history names distinct clusters out of ``0 .. clusters - 1``.

    Raises:
        ValueError: naming the first history that is empty, names a cluster twice, or names an unknown one.
    """
    for index, history in enumerate(histories):
        if not history:
            raise ValueError(f"history {index} is empty: it must name at least one cluster")
        if len(set(history)) < len(history):
            raise ValueError(f"history {index}, {list(history)}, names a cluster twice: name each cluster once")
        unknown = [cluster for cluster in history if not 0 <= cluster < clusters]
        if unknown:
            raise ValueError(
                f"history {index}, {list(history)}, names cluster {unknown[0]}, which does not exist: "
                f"the clusters are 0 to {clusters - 1}"
            )
