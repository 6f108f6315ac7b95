"""Regular expressions by RE2: linear in the text that a visitor sends."""

from collections.abc import Callable
from typing import Any

import re2

from experiments.errors import InvalidDefinitionError

MAX_PATTERN = 1_000


def check_pattern(pattern: str, path: tuple[str | int, ...], *, any_case: bool = False) -> None:
    """Refuse what cannot be a regular expression.

    Parameters
    ----------
    pattern : str
        As it was written.
    path : tuple of str or int
        Where it was written.
    any_case : bool
        As `searcher` will be told: folded, a pattern is larger, and RE2 takes no pattern of any size.

    Raises
    ------
    InvalidDefinitionError
        E205.
    """
    if len(pattern) > MAX_PATTERN:
        raise InvalidDefinitionError(
            f"the regular expression is longer than {MAX_PATTERN} characters", path=path, code="E205"
        )
    try:
        _compiled(pattern, any_case=any_case)
    except re2.error as error:
        why = error.args[0] if error.args else ""
        told = why.decode("utf-8", "replace") if isinstance(why, bytes) else why
        raise InvalidDefinitionError(
            f"not a regular expression that RE2 knows: {told}",
            path=path,
            code="E205",
            hint="RE2 has no look-around and no back-references",
        ) from error


def searcher(pattern: str, *, any_case: bool = False) -> Callable[[object], bool]:
    """Return a test whether a value is a text in which `pattern` is found.

    Parameters
    ----------
    pattern : str
        One that `check_pattern` let pass.
    any_case : bool
        Whether capital and small letters are the same.

    Returns
    -------
    callable
        Any value -> bool; it never raises.

    Examples
    --------
    >>> mobile = searcher("(mobile|tablet)", any_case=True)
    >>> mobile("Android Mobile Browser"), mobile(None)
    (True, False)
    """
    search = _compiled(pattern, any_case=any_case).search

    def test(value: object) -> bool:
        # RE2 knows valid Unicode only, other text matches nothing; bytes spare it counting characters.
        try:
            return isinstance(value, str) and search(value.encode()) is not None
        except UnicodeError:
            return False

    return test


def _compiled(pattern: str, *, any_case: bool) -> Any:  # noqa: ANN401 - re2 has no types
    options = re2.Options()
    # RE2 would write what it refuses to standard error as well.
    options.log_errors = False
    return re2.compile(f"(?i){pattern}" if any_case else pattern, options)
