"""The id that a value stands for, as ``sql/macros/landed_values.sql`` reads it from landing files."""

import re
import unicodedata

from alignrec_assets.landing.data_contract import EXACT_BELOW

BLANKS = "".join(map(chr, (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200C)))) + (
    "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
"""The blanks of Unicode, and three signs that nobody sees."""
_WHOLE = re.compile(r"([+-]?[0-9]{1,15})\.0*")


def clean_id(value: object) -> str:
    """A text without blanks at its ends, in the normal form C; a whole number as the text of its integer."""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_BELOW["DOUBLE"]:
        return str(int(value))
    text = unicodedata.normalize("NFC", str(value).strip(BLANKS))
    whole = _WHOLE.fullmatch(text)
    return str(int(whole[1])) if whole else text
