import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models.language.prompts import (
    alignment_prompt,
    check_histories,
    label_text,
    label_tokens,
    novelty_prompt,
    prompt_tokens,
    terminator,
    words_that_differ,
)


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder):
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def test_prompts_name_the_labels_in_the_order_given():
    assert novelty_prompt(["jazz, piano", "space"]) == "Interests: jazz piano; space\nNext:"
    assert alignment_prompt(["space", "jazz, piano"]) == "Interests: space; jazz piano\nOffer:"


@pytest.mark.parametrize("label", ["jazz, piano", " jazz ,piano ", "jazz piano"])
def test_label_text_has_one_space_before_each_word(label):
    assert label_text(label) == " jazz piano"


def test_a_prompt_opens_with_special_tokens_and_a_label_has_none(tokenizer):
    prompt = prompt_tokens(tokenizer, novelty_prompt(["jazz"]))
    (label,) = label_tokens(tokenizer, ["jazz, piano"])
    assert prompt[0] == tokenizer.bos_token_id
    assert tokenizer.decode(prompt[1:]) == "Interests: jazz\nNext:"
    assert tokenizer.decode(label) == " jazz piano"


def test_a_closing_token_that_the_tokenizer_adds_is_dropped(tokenizer):
    closing = [*tokenizer("jazz").input_ids, tokenizer.eos_token_id]

    class ClosingTokenizer:
        eos_token_id = tokenizer.eos_token_id

        def __call__(self, text):
            return type("Encoding", (), {"input_ids": closing})

    assert prompt_tokens(ClosingTokenizer(), "jazz") == closing[:-1]


def test_multibyte_labels_survive_the_round_trip(tokenizer):
    labels = ["日本語 アニメ", "кулинария", "café ☕", "🎻"]
    tokens = label_tokens(tokenizer, labels)
    assert [tokenizer.decode(sequence).strip() for sequence in tokens] == labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no cluster labels"),
        (["jazz", "  "], "cluster 1 is empty"),
        (["jazz", ", ,"], "cluster 1 is empty"),
        (["jazz, piano", "space", "jazz  piano "], "clusters 0 and 2 have labels with the same tokens"),
        (["jazz </s> piano"], "cluster 0, 'jazz </s> piano', holds the token that ends labels"),
    ],
)
def test_unusable_labels_are_named(tokenizer, labels, message):
    with pytest.raises(ValueError, match=message):
        label_tokens(tokenizer, labels)


def word_pieces():
    """A tokenizer that ignores case, accents and punctuation, and knows single letters only."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = ["[UNK]", "</s>", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(
        models.WordPiece({piece: number for number, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.BertNormalizer(), normalizers.Replace(Regex(r"\W"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="[UNK]")


LABEL_WORDS = st.sampled_from(
    ["rock", "Rock", "music", "live", "café", "cafe", "sci-fi", "sci", "fi", "42", "ﬁ", "title"]
)


@settings(deadline=None)
@given(st.lists(st.lists(LABEL_WORDS, min_size=1, max_size=4), max_size=8), st.randoms())
def test_labels_of_different_words_have_different_tokens_under_tokenizers_that_ignore_much(tokenizer, lists, random):
    labels = {}
    for words in lists:
        text = "".join(word + random.choice([" ", ", "]) for word in words).strip(", ")
        labels.setdefault(words_that_differ(text), text)
    if labels:
        for reader in (tokenizer, word_pieces()):
            label_tokens(reader, list(labels.values()))


def test_labels_that_stop_a_model_say_what_to_do(tokenizer, comes_out):
    labels = ["rock music, live", "rock, music live"]
    with pytest.raises(ValueError, match="make the labels anew with `alignrec recluster`") as told:
        label_tokens(tokenizer, labels)
    comes_out("labels", f"the labels {labels}, made by an older alignrec", str(told.value))


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([1, 2, 1], r"history 1, \[1, 2, 1\], names a cluster twice"),
        ([0, 3], r"history 1, \[0, 3\], names cluster 3, which does not exist: the clusters are 0 to 2"),
        ([-1], "names cluster -1"),
        ([], "history 1 is empty"),
    ],
)
def test_malformed_histories_are_named(history, message):
    with pytest.raises(ValueError, match=message):
        check_histories([[0, 1], history], 3)


def test_a_tokenizer_without_terminator_is_refused():
    class Endless:
        eos_token_id = None

    with pytest.raises(ValueError, match="no end-of-sequence token"):
        terminator(Endless())
