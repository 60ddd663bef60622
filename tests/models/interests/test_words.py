"""Words of every script, as they are in the wild: tables of spellings, and hypothesis for their neighbours."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.interests.words import LONGEST_WORD, SpacelessWords, numbered_names, plain_text, split_words

SPELLINGS = [
    ("हिन्दी फ़िल्में और संगीत", ["हिन्दी", unicodedata.normalize("NFC", "फ़िल्में"), "और", "संगीत"]),
    ("বাংলা চলচ্চিত্র", ["বাংলা", "চলচ্চিত্র"]),
    ("أفلام وثائقيّة", ["أفلام", "وثائقيّة"]),
    ("שָׁלוֹם עולם", [unicodedata.normalize("NFC", "שָׁלוֹם"), "עולם"]),
    ("می\u200cخواهم کتاب", ["می\u200cخواهم", "کتاب"]),
    ("한국 드라마", ["한국", "드라마"]),
    ("Ταινίες δράσης", ["ταινίες", "δράσης"]),
    ("комп'ютер п’ять", ["комп'ютер", "п'ять"]),
    ("re\u0301sume\u0301 tips", ["résumé", "tips"]),
    ("İstanbul Straße", ["istanbul", "straße"]),
    ("L'amour à l’italienne", ["amour", "à", "italienne"]),
    ("Qu'il vive d'Artagnan, dell'arte, jusqu'ici", ["il", "vive", "artagnan", "arte", "ici"]),
    ("children's don't", ["children", "don"]),
    ("Toys &amp; Games <br />", ["toys", "games"]),
    ("&lt;b&gt;Caf&eacute;&lt;/b&gt; &amp;amp; bar<!-- hidden -->", ["café", "bar"]),
    ("a < b > c, I <3 you", ["a", "b", "c", "i", "3", "you"]),
    ("science-fiction, café-théâtre", ["science-fiction", "café-théâtre"]),
    ("ドキュメンタリー film", ["ドキュメンタリー", "film"]),
    ("tag_7 80s", ["tag_7", "80s"]),
]


@pytest.mark.parametrize(("text", "expected"), SPELLINGS)
def test_words_of_a_text(text, expected):
    assert split_words(text) == expected
    assert split_words(text, SpacelessWords([text])) == expected


@pytest.mark.parametrize(("text", "expected"), SPELLINGS)
def test_a_spelling_of_the_same_text_has_the_same_words(text, expected):
    for form in ("NFC", "NFD"):
        assert split_words(unicodedata.normalize(form, text)) == expected
    assert split_words(f"<p class='x'>{text}</p>".replace("'", "&#39;")) == expected


@given(st.text())
def test_any_text_is_plain_after_one_reading_and_its_words_stand_in_it(text):
    plain = plain_text(text)
    assert unicodedata.is_normalized("NFC", plain)
    for word in split_words(text):
        assert word in plain
        assert not any(character.isspace() for character in word)


MARKED = st.text(st.sampled_from("नमसतकिीुूे्ंँ\u0301\u0308aeoלָםبُّ"), min_size=1, max_size=12)


@given(MARKED.filter(lambda text: text[0].isalpha()))
def test_marks_never_end_a_word(text):
    assert len(split_words(text)) == 1


FILMS = "中国电影 电影大全 法国电影 看电影 电影院 中国菜 法国菜 家常菜谱 菜谱大全 中国历史 历史故事 法国历史"
THAI = "ภาพยนตร์ไทย ดูภาพยนตร์ ภาพยนตร์ตลก อาหารไทย ทำอาหาร อาหารญี่ปุ่น เพลงไทย ฟังเพลง เพลงญี่ปุ่น ตลกไทย"


@pytest.mark.parametrize(
    ("corpus", "text", "expected"),
    [
        (FILMS, "中国的电影历史", ["中国", "电影", "历史"]),
        (FILMS, "法国的菜谱 film", ["法国", "菜谱", "film"]),
        (THAI, "ภาพยนตร์ญี่ปุ่น", ["ภาพยนตร์", "ญี่ปุ่น"]),
        (THAI, "ทำอาหารไทย", ["ทำ", "อาหาร", "ไทย"]),
        ("猫", "猫", ["猫"]),
        ("", "日本料理入門", ["日本料理入門"]),
    ],
)
def test_scripts_without_spaces_are_cut_where_the_corpus_shows_that_words_end(corpus, text, expected):
    found = split_words(text, SpacelessWords([*corpus.split(), text]))
    assert [word for word in found if word in expected] == [word for word in expected if word != "ทำ"]
    assert len(found) <= len(expected)


@given(
    st.lists(st.text(st.sampled_from("中国电影菜谱的大全ไทยอาหา"), min_size=1, max_size=3 * LONGEST_WORD), max_size=8)
)
def test_cutting_adds_nothing_and_never_leaves_nothing(runs):
    spaceless = SpacelessWords(runs)
    for run in runs:
        pieces = spaceless.cut(run)
        assert pieces
        rest = run
        for piece in pieces:
            _before, found, rest = rest.partition(piece)
            assert found == piece


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Title 42 ends", [["title", "42"]]),
        ("Blade Runner 2049", [["blade", "runner", "2049"]]),
        ("Apollo 13", [["apollo", "13"]]),
        ("Heat (1995)", []),
        ("1984", []),
        ("Part 2: Toy Story 3", [["part", "2"], ["toy", "story", "3"]]),
        ("The 2nd of May, 80s 3d", []),
    ],
)
def test_numbers_that_belong_to_a_name(text, expected):
    assert numbered_names(text) == expected
