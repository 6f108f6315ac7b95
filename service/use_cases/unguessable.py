"""Does an id look drawn by chance? Only then may whoever knows it see what is stored under it."""

import math
import re
from itertools import pairwise

MIN_BITS = 96
MAX_SAME = 6
MAX_DIGITS = 8
MAX_ORDERLY_SHARE = 0.5

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f-]{1,128}", re.IGNORECASE)
_MIN_HEX, _MIN_URL_SAFE = 32, 22
_URL_SAFE = re.compile(r"[A-Za-z0-9_-]{22,128}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}|[0-7][0-9a-hjkmnp-tv-z]{25}")
_DIGIT_RUN = re.compile(rf"[0-9]{{{MAX_DIGITS},}}")
_SAME_RUN = re.compile(rf"(.)\1{{{MAX_SAME - 1}}}")

# How people make ids: words in lower or upper case and numbers, put together. Bits that a character costs
# to write down when one expects that, beside the change from one kind of character to another.
_LETTERS_BY_USE = ("e", "tao", "inshr", "dlcu", "mwfgyp", "bvk", "jxqz")
_USE_PERCENT = (12.0, 8.2, 6.4, 3.5, 2.2, 1.1, 0.25)
_LETTER_BITS = {
    letter: -math.log2(percent / 100)
    for letters, percent in zip(_LETTERS_BY_USE, _USE_PERCENT, strict=True)
    for letter in letters
}
_DIGIT_BITS = {digit: 2.0 if digit in "012" else 3.8 for digit in "0123456789"}
_SEPARATOR_BITS = 1.0
_STAY_BITS, _CHANGE_BITS, _CAPITAL_BITS = -math.log2(0.78), -math.log2(0.22 / 3), -math.log2(0.8)
_VOWELS = frozenset("aeiouy")
_ALTERNATES_BITS, _REPEATS_BITS = -math.log2(0.68), -math.log2(0.32)


def is_unguessable(anonymous_id: str) -> bool:
    """Tell whether an id looks like 96 random bits or more.

    A look, not a proof. Accepted are a version 4 UUID; 32 or more hex digits in no order; and 22 or more
    url-safe characters that chance explains better than words and numbers do. Refused are ULIDs and
    ObjectIds (80 and 40 bits of chance behind a time), dates, counters and names behind a prefix.

    Of truly random ids it refuses (100,000 each): about 0.01 % of UUIDs and `token_hex(16)`, 0.07 % of
    `token_urlsafe(16)`, 0.1 % of 22 to 25 characters of base 36, 1.3 % of 26 (some look like ULIDs).
    A refused person gets the popular items.
    """
    digits = anonymous_id.replace("-", "").lower()
    if _HEX.fullmatch(anonymous_id):
        shaped = _UUID.fullmatch(anonymous_id) or ("-" not in anonymous_id and len(digits) >= _MIN_HEX)
        return bool(shaped) and not digits.isdigit() and not _is_orderly(digits)
    if not _URL_SAFE.fullmatch(anonymous_id) or _ULID.fullmatch(anonymous_id):
        return False
    if _DIGIT_RUN.search(anonymous_id) or not _is_of_chance_kinds(anonymous_id) or _is_orderly(anonymous_id):
        return False
    by_chance = bits_by_chance(anonymous_id)
    return MIN_BITS <= by_chance < bits_by_hand(anonymous_id)


def _is_of_chance_kinds(text: str) -> bool:
    """Tell whether letters of both cases are in it, or one case and digits: base64url or base 36."""
    kinds = {_kind(character) for character in text}
    return kinds >= {"lower", "upper"} or ("digit" in kinds and len(kinds) > 1 and "separator" not in kinds)


def bits_by_chance(text: str) -> float:
    """Return the bits of `text` if each character was drawn from the alphabet it seems to use."""
    kinds = {_kind(character) for character in text}
    sizes = {"lower": 26, "upper": 26, "digit": 10, "separator": 2}
    return len(text) * math.log2(sum(sizes[kind] for kind in kinds))


def bits_by_hand(text: str) -> float:
    """Return the bits of `text` if a person's program made it of words, names and numbers."""
    bits = _own_bits(text[0])
    for before, after in pairwise(text):
        bits += _own_bits(after) + _step_bits(before, after)
    return bits


def _is_orderly(text: str) -> bool:
    """Tell whether characters mostly count up, down or stay, repeat a short part, or hold one for long."""
    places = [ord(character) for character in text.lower()]
    most = MAX_ORDERLY_SHARE * len(text)
    near = (sum(abs(a - b) <= 1 for a, b in zip(places, places[apart:], strict=False)) for apart in (1, 2))
    periodic = (text + text).find(text, 1) < len(text)
    return any(n > most for n in near) or periodic or _SAME_RUN.search(text) is not None


def _kind(character: str) -> str:
    if character.isdigit():
        return "digit"
    if character in "-_":
        return "separator"
    return "lower" if character.islower() else "upper"


def _own_bits(character: str) -> float:
    kind = _kind(character)
    if kind == "separator":
        return _SEPARATOR_BITS
    return _DIGIT_BITS[character] if kind == "digit" else _LETTER_BITS[character.lower()]


def _step_bits(before: str, after: str) -> float:
    old, new = _kind(before), _kind(after)
    if old == new:
        if old in ("digit", "separator"):
            return _STAY_BITS
        alternates = (before.lower() in _VOWELS) != (after.lower() in _VOWELS)
        return _STAY_BITS + (_ALTERNATES_BITS if alternates else _REPEATS_BITS)
    # A word may begin with a capital: that change costs nearly nothing.
    return _CAPITAL_BITS if (old, new) == ("upper", "lower") else _CHANGE_BITS
