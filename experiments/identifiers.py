"""What may serve as an id: the same rule for units, people, events and items."""

import re

MAX_IDENTIFIER = 128

# C0 and C1 controls, lone surrogates, and the characters that reorder or hide text.
_NOT_IN_IDENTIFIER = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)


def is_identifier(value: object) -> bool:
    """Return whether `value` may serve as an id: 1..128 visible characters, taken as they are.

    Parameters
    ----------
    value : object
        Anything; what is no text is no id.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_identifier("v-1"), is_identifier(""), is_identifier("x" * 129), is_identifier(1)
    (True, False, False, False)
    """
    return (
        isinstance(value, str) and 1 <= len(value) <= MAX_IDENTIFIER and not _NOT_IN_IDENTIFIER.search(value)
    )
