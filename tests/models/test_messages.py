"""Messages are bounded, whatever is listed in them."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.messages import MOST_CHARACTERS, MOST_LINES, listed, shortened

words = st.lists(st.text(max_size=3_000), max_size=40)


@given(words, st.sampled_from([", ", "; ", ". "]))
def test_a_list_of_anything_is_one_short_line(entries, separator):
    told = listed(entries, separator)
    assert len(told.splitlines()) <= 1
    assert len(told) <= MOST_CHARACTERS + 60


@pytest.mark.parametrize(
    ("count", "more"), [(0, ""), (1, ""), (5, ""), (6, "; and 1 more"), (8_215, "; and 8,210 more")]
)
def test_a_list_says_how_many_entries_it_leaves_out(count, more, comes_out):
    days = [date(2000, 1, 1) + timedelta(days=number) for number in range(count)]
    told = listed(days, "; ")
    assert told == "; ".join(map(str, days[:5])) + more
    if count == 8_215:
        comes_out("long messages", f"a warning for each of {count:,} days", told)


def test_a_list_says_where_the_rest_is():
    assert listed("abc", most=1, rest="in the table") == "a, and 2 more (in the table)"


@given(st.text(max_size=50_000), st.text(max_size=200))
def test_a_shortened_text_is_bounded_and_a_short_one_is_itself(text, rest):
    told = shortened(text, rest)
    assert len(told) <= MOST_CHARACTERS + 60
    assert told.count("\n") <= MOST_LINES + rest.count("\n")
    if len(text) <= MOST_CHARACTERS and len(text.splitlines()) <= MOST_LINES:
        assert told == text
    else:
        assert told.endswith(rest)
