"""What is wrong with a catalog, told so that a person can mend it: where, what, why, how."""

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

# Errors that hide what else a file says: they come first, because others may only follow from them.
UNREADABLE = frozenset({"E100", "E104", "E105", "E106", "E107", "E109", "E110"})
MAX_EXCERPT = 140
LEAD = 40
MAX_LISTED = 12
MAX_COMPARED = 500


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One error with its place, counted from 1. `excerpt` is the line with a caret below it."""

    path: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    excerpt: str = ""

    def text(self) -> str:
        """Return the finding as a person reads it: the heading, the excerpt, the suggestion."""
        head = f"{self.path}:{self.line}:{self.column}  error {self.code}  {self.message}"
        if not self.excerpt:
            return f"{head}\n        {self.hint}" if self.hint else head
        return f"{head}\n{self.excerpt} {self.hint}".rstrip()

    def github(self) -> str:
        """Return the finding as a GitHub annotation."""
        told = f"{self.code} {self.message}" + (f" ({self.hint})" if self.hint else "")
        message = told.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        path = self.path.replace("%", "%25").replace(",", "%2C").replace(":", "%3A")
        return f"::error file={path},line={self.line},col={self.column}::{message}"

    def members(self) -> dict[str, object]:
        """Return the finding as JSON members."""
        return asdict(self)


class CatalogError(Exception):
    """The catalog has errors; nothing of it is used. `findings`: what cannot be read first, then by place."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(sorted(findings, key=lambda found: (found.code not in UNREADABLE, found)))
        super().__init__("\n".join(found.text() for found in self.findings))


def excerpt(text: str, *, start: int, end: int, line: int) -> str:
    """Return the part of line number `line` around the offsets `start` to `end`, with carets under them."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    last = len(text) if last < 0 else last
    if last - first > MAX_EXCERPT:
        first = max(first, start - LEAD)
        last = min(last, first + MAX_EXCERPT)
    shown = _printable(text[first:last].rstrip("\r"))
    lead = "".join("  " if _wide(c) else " " for c in shown[: start - first])
    marked = shown[start - first : end - first] or "^"
    carets = "".join("^^" if _wide(c) else "^" for c in marked)
    return f"{line:>5} | {shown}\n      | {lead}{carets}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion when one of `known` is close to `word`, else a short list, else nothing."""
    names = list(known)
    if len(names) > MAX_COMPARED or len(word) > MAX_COMPARED:
        return ""
    names = sorted(set(names))
    listed = f"known: {', '.join(names)}" if 0 < len(names) <= MAX_LISTED else ""
    return near_one(word, names) or listed


def near_one(word: str, known: Sequence[str]) -> str:
    """Return a suggestion when one of `known`, which are few, is close to `word`, else nothing."""
    close = difflib.get_close_matches(word[:MAX_COMPARED].lower(), known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else ""


def summary(findings: Sequence[Finding], files: Mapping[str, str], *, live: int | None = None) -> str:
    """Return the closing line of a run."""
    if not findings:
        return f"{_count(len(files), 'file')}, no errors."
    kept = f" The service keeps serving revision {live}." if live else ""
    return f"{_count(len(files), 'file')}, {_count(len(findings), 'error')}. Nothing was changed.{kept}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"


def _printable(line: str) -> str:
    """Replace what would move the caret or steer the terminal."""
    return "".join(" " if c == "\t" else c if c.isprintable() else "\N{MIDDLE DOT}" for c in line)
