"""Regular expressions that mean in JavaScript and in Python's `re` what they mean to RE2."""

import re

from experiments.errors import ExperimentError


class UntranslatableError(ExperimentError):
    """Something has no equal on the other side; the message says what and why."""


# JavaScript matches halves of a surrogate pair: what stands for any character must take both.
_PAIR = "[\\uD800-\\uDBFF][\\uDC00-\\uDFFF]"
_HALVES = "\\uD800-\\uDFFF"
_WORD = "0-9A-Za-z_"
_SPACE = "\\t\\n\\f\\r "
_END = "(?![\\s\\S])"
_EDGE = f"(?:(?<![{_WORD}])(?=[{_WORD}])|(?<=[{_WORD}])(?![{_WORD}]))"
_NO_EDGE = f"(?:(?<![{_WORD}])(?![{_WORD}])|(?<=[{_WORD}])(?=[{_WORD}]))"
_CLASSES = {"d": "0-9", "w": _WORD, "s": _SPACE}
_CONTROLS = {"t": "\\t", "n": "\\n", "f": "\\f", "r": "\\r", "v": "\\x0b"}
_ALSO = {"k": "\\u212a", "s": "\\u017f"}
"""What RE2 counts as another case of a letter, and JavaScript does not."""
_REPEAT = re.compile(r"\{[0-9]{1,4}(,[0-9]{0,4})?\}", re.ASCII)
_ASTRAL = 0x10000


def literal(text: str) -> str:
    r"""Return a pattern that matches `text` itself.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        For JavaScript's RegExp and Python's `re`.

    Examples
    --------
    >>> print(literal("a.b/c"))
    a\.b\x2fc
    """
    return "".join(_one(char, fold=False) for char in text)


def anchored_end(text: str) -> str:
    r"""Return a pattern that matches `text` at the very end; Python's ``$`` would forgive a line feed.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        For JavaScript's RegExp and Python's `re`.

    Examples
    --------
    >>> print(anchored_end("go"))
    go(?![\s\S])
    """
    return literal(text) + _END


def portable(pattern: str, *, fold: bool = False) -> str:
    r"""Return a pattern that matches elsewhere what `pattern` matches in RE2.

    Parameters
    ----------
    pattern : str
        Known to be good for RE2.
    fold : bool
        Whether the case of letters does not count.

    Returns
    -------
    str
        For JavaScript's RegExp without flags and Python's `re` without flags.

    Raises
    ------
    UntranslatableError
        If it uses more than the common ground: flags, names, Unicode classes.

    Examples
    --------
    >>> print(portable("a$"), portable("[^0-9]", fold=True))
    a(?![\s\S]) (?:[\uD800-\uDBFF][\uDC00-\uDFFF]|[^0-9\uD800-\uDFFF])
    """
    return _Translation(pattern, fold=fold).run()


def _one(char: str, *, fold: bool) -> str:
    """Return the pattern of one character that stands for itself."""
    if fold and char.isascii() and char.isalpha():
        return f"[{char.lower()}{char.upper()}{_ALSO.get(char.lower(), '')}]"
    if fold and char.lower() != char.upper():
        raise UntranslatableError(f"the case of {char!r} cannot be passed over in every SDK")
    if ord(char) >= _ASTRAL:
        return f"(?:{char})"
    if char == "/":
        return "\\x2f"
    return f"\\{char}" if char in ".*+?^${}()|[]\\" else char


def _any_but(body: str) -> str:
    return f"(?:{_PAIR}|[^{body}{_HALVES}])"


_SYMBOLS = {".": _any_but("\\n"), "$": _END, "^": "^", "|": "|", ")": ")"}


class _Translation:
    """One pass over a pattern."""

    def __init__(self, pattern: str, *, fold: bool) -> None:
        self._text = pattern
        self._fold = fold
        self._at = 0

    def run(self) -> str:
        out: list[str] = []
        repeated = True
        while self._at < len(self._text):
            repeat = self._repeat()
            if repeat:
                if repeated:
                    raise self._refused("a repetition of nothing, or of a repetition")
                out.append(repeat)
                repeated = True
                continue
            token = self._token()
            repeated = token in ("(?:", "|", "^", _END)
            out.append(token)
        return "".join(out)

    def _refused(self, what: str) -> UntranslatableError:
        return UntranslatableError(f"the pattern {self._text!r} uses {what}: not the same in every SDK")

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise self._refused("an end in the middle")
        char = self._text[self._at]
        self._at += 1
        return char

    def _repeat(self) -> str:
        char = self._text[self._at]
        found = char if char in "*+?" else ""
        if char == "{" and (counted := _REPEAT.match(self._text, self._at)):
            found = counted[0]
        self._at += len(found)
        if found and self._text[self._at : self._at + 1] == "?":
            self._at += 1
            found += "?"
        return found

    def _token(self) -> str:
        char = self._next()
        reader = {"\\": self._escape, "[": self._class, "(": self._group}.get(char)
        if reader is not None:
            return reader()
        return _SYMBOLS.get(char) or _one(char, fold=self._fold)

    def _group(self) -> str:
        if self._text.startswith("?", self._at):
            if not self._text.startswith("?:", self._at):
                raise self._refused("a flag or a named group")
            self._at += 2
        return "(?:"

    def _escape(self) -> str:
        char = self._next()
        if char in _CLASSES:
            return f"[{_CLASSES[char]}]"
        if char.lower() in _CLASSES:
            return _any_but(_CLASSES[char.lower()])
        if char in "bB":
            return _EDGE if char == "b" else _NO_EDGE
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isalnum():
            raise self._refused(f"'\\{char}'")
        return _one(char, fold=False)

    def _class(self) -> str:
        negated = self._text.startswith("^", self._at)
        self._at += negated
        body: list[str] = []
        while True:
            char = self._next()
            if char == "]" and body:
                break
            body.append(self._class_part(char))
        text = "".join(body)
        return _any_but(text) if negated else f"[{text}]"

    def _class_part(self, char: str) -> str:
        """Return one member of a class, or a range of them."""
        if char == "[":
            raise self._refused("a named class")
        if char == "\\":
            char = self._next()
            if char in _CLASSES:
                return _CLASSES[char]
            if char in _CONTROLS:
                return _CONTROLS[char]
            if char.isalnum():
                raise self._refused(f"'\\{char}' in a class")
        if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
            self._at += 1
            return self._range(char, self._next())
        return self._members(char, char)

    def _range(self, first: str, last: str) -> str:
        if not (first.isalnum() and last.isalnum() and first.isascii() and last.isascii()):
            raise self._refused("a range beyond letters and digits")
        digits = first.isdigit() and last.isdigit()
        one_case = first.isalpha() and last.isalpha() and first.islower() == last.islower()
        if self._fold and not digits and not one_case:
            raise self._refused("a range over both cases")
        return self._members(first, last)

    def _members(self, first: str, last: str) -> str:
        if ord(first) >= _ASTRAL or (self._fold and not first.isascii() and first.lower() != first.upper()):
            raise self._refused(f"{first!r} in a class")
        if first == last:
            found = f"\\{first}" if first in "\\]^-[" else first
            twice = {first.lower(), first.upper()} - {first} if self._fold and first.isascii() else set()
            return found + "".join(twice) + (_ALSO.get(first.lower(), "") if self._fold else "")
        if not self._fold or first.isdigit():
            return f"{first}-{last}"
        also = "".join(more for letter, more in _ALSO.items() if first.lower() <= letter <= last.lower())
        return f"{first.lower()}-{last.lower()}{first.upper()}-{last.upper()}{also}"
