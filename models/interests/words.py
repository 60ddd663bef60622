"""Words of a text in any script: without HTML, in one spelling, with the marks that belong to their letters.

Scripts that are written without spaces show no words. Their texts are cut where the corpus shows that words end; see
``SpacelessWords``. Which words are fit for a label is said in cluster_labels.
"""

import html
import math
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cache

# Thai, Lao, Myanmar, Khmer, Hiragana and Chinese characters. Katakana is not among them: a run of it is a word.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u309f\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
LONGEST_WORD = 8  # letters of a word in these scripts
RUNS_READ = 5_000  # of such text, to learn its words: more would cost memory and find rare words alone

_HTML_TAG = re.compile(r"<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL)
_APOSTROPHE = re.compile("[\u2018\u2019\u02bc\uff07\u00b4`]")
_LATIN = "a-z\u00df-\u024f"
# One letter and an apostrophe before a word are an elision (l'amour), and so are these (qu'il, dell'arte).
_ELIDED = "qu jusqu lorsqu puisqu quoiqu dell dall nell sull coll all un quest quell bell sant tutt"
_ELISION = re.compile(rf"(?<![\w'])(?:[{_LATIN}]|{'|'.join(_ELIDED.split())})'(?=\w)")
_ENDING = re.compile(rf"(?<=[{_LATIN}])'\w*")  # children's, don't; in other scripts the apostrophe is a letter


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Words; their parts in scripts without spaces, and between these; letters of such a part with their marks."""
    marks = "".join(chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code))[0] == "M")
    inside = rf"\w{marks}\u200c\u200d"  # and the joiners of Indian and Persian words
    words = re.compile(rf"\w[{inside}]*(?:[-'][{inside}]+)*")
    parts = re.compile(rf"(?:[{_SPACELESS}][{marks}]*)+|(?:(?![{_SPACELESS}])[{inside}'-])+")
    # Thai and Lao write some vowels before their consonant, and some behind it that are no marks to Unicode.
    letters = re.compile(rf"[\u0e40-\u0e44\u0ec0-\u0ec4]?.[{marks}\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3]*")
    return words, parts, letters


def plain_text(text: str) -> str:
    """Lower case in Unicode's composed form (NFC), HTML tags and entities resolved, no elisions, plain apostrophes."""
    if "&" in text or "<" in text:
        # Twice: what was escaped on its way into a log twice is common.
        text = _HTML_TAG.sub(" ", html.unescape(html.unescape(_HTML_TAG.sub(" ", text))))
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()).replace("i\u0307", "i")
    if text.isascii() and "'" not in text and "`" not in text:
        return text
    return _ENDING.sub("", _ELISION.sub("", _APOSTROPHE.sub("'", text)))


def split_words(text: str, spaceless: "SpacelessWords | None" = None) -> list[str]:
    """Words and numbers of a text in their order, in lower case.

    Args:
        text: any text.
        spaceless: cuts what is written without spaces; without it, a run of such text stays one word.
    """
    text = plain_text(text)
    words, parts, _ = _patterns()
    found = words.findall(text)
    if text.isascii():
        return found
    pieces = (piece for word in found for piece in parts.findall(word))
    if spaceless is None:
        return list(pieces)
    return [word for piece in pieces for word in (spaceless.cut(piece) if _is_spaceless(piece) else [piece])]


def numbered_names(text: str) -> list[list[str]]:
    """Numbers with the one or two words right before them: "Blade Runner 2049" is a name, "Heat (1995)" is not."""
    return [[word for word in name if word] for name in _numbered().findall(plain_text(text))]


@cache
def _numbered() -> re.Pattern[str]:
    word = _patterns()[0].pattern
    return re.compile(rf"(?:(?<![\w'-])({word}) )?(?<![\w'-])({word}) (\d+)(?![\w-])")


def _is_spaceless(piece: str) -> bool:
    return bool(re.match(rf"[{_SPACELESS}]", piece))


class SpacelessWords:
    """The words of scripts without spaces, learnt from the texts themselves.

    A word is a run of letters that meets many different letters on both sides: *accessor variety* (Feng, Chen, Deng and
    Zheng, 2004). A text is cut so that the sum of length times the logarithm of this variety is greatest.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Learn from texts: tags and titles alike."""
        runs = {piece for text in texts if not text.isascii() for piece in split_words(text) if _is_spaceless(piece)}
        self._gain = _gains(sorted(runs)[:RUNS_READ])

    def cut(self, run: str) -> list[str]:
        """Words of a run. A letter between words, mostly a particle, is left out; more than one stay together."""
        letters = _letters(run)
        best: list[tuple[float, int]] = [(0.0, 0)]  # by where a word ends: the sum up to there, and where it begins
        for end in range(1, len(letters) + 1):
            starts = range(max(0, end - LONGEST_WORD), end)
            best.append(max((best[start][0] + self._gain_of(letters[start:end]), -start) for start in starts))
        words: list[list[str]] = [[]]
        end = len(letters)
        while end > 0:
            start = -best[end][1]
            if end - start == 1:
                words[-1].insert(0, letters[start])
            else:
                words += [letters[start:end], []]
            end = start
        return ["".join(word) for word in reversed(words) if len(word) > 1] or [run]

    def _gain_of(self, letters: list[str]) -> float:
        return self._gain.get("".join(letters), 0.0 if len(letters) == 1 else -math.inf)


def _letters(run: str) -> list[str]:
    found: list[str] = _patterns()[2].findall(run)
    return found


def _gains(runs: list[str]) -> dict[str, float]:
    """Length times the logarithm of the accessor variety, of everything that meets two neighbours on each side.

    The end of a run is a neighbour of its own in each run.
    """
    before: defaultdict[str, set[str]] = defaultdict(set)
    after: defaultdict[str, set[str]] = defaultdict(set)
    length: dict[str, int] = {}
    for number, run in enumerate(runs):
        letters = [f"end {number}", *_letters(run), f"end {number}"]
        for start in range(1, len(letters) - 1):
            for end in range(start + 1, min(start + LONGEST_WORD, len(letters) - 1) + 1):
                word = "".join(letters[start:end])
                before[word].add(letters[start - 1])
                after[word].add(letters[end])
                length[word] = end - start
    variety = {word: min(len(before[word]), len(after[word])) for word in length}
    return {word: length[word] * math.log(count) for word, count in variety.items() if count > 1}
