"""Times as shops, e-mail tools and call centres write them; what cannot be a moment is refused."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from service.wire import read_instant

_ISO = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<time>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)(?: ?(?P<offset>[Zz]|[+-]\d{2}:?\d{2}))?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How the times of a file are to be read.

    `zone` is where clocks showed times that name no offset, `pattern` a form of `strptime` where they are not
    in the order year, month, day, and `of_day` the time that stands for a day alone.
    """

    zone: ZoneInfo | None = None
    pattern: str = ""
    of_day: time | None = None

    def read(self, text: str) -> datetime:
        """Return the moment in UTC.

        Raises
        ------
        ValueError
            If the text is no time; the message says what to do. Of an hour that came twice it is the first.
        """
        found = self._by_pattern(text) if self.pattern else _iso(text)
        if not isinstance(found, datetime):
            if self.of_day is None:
                raise ValueError(
                    f"{text!r} is a day; outcomes count only after their exposure, so say which time stands "
                    "for a day, such as --time 18:00"
                )
            found = datetime.combine(found, self.of_day)
        if found.tzinfo is None:
            found = self._in_zone(found, text)
        return read_instant(found.astimezone(UTC).isoformat(timespec="microseconds"))

    def _by_pattern(self, text: str) -> datetime | date:
        try:
            found = datetime.strptime(text, self.pattern)  # noqa: DTZ007 - the zone is looked at right after
        except ValueError as error:
            raise ValueError(f"{text!r} does not have the form --time-format {self.pattern!r}") from error
        has_time = any(mark in self.pattern for mark in ("%H", "%I", "%c", "%X"))
        return found if has_time else found.date()

    def _in_zone(self, found: datetime, text: str) -> datetime:
        if self.zone is None:
            raise ValueError(
                f"{text!r} names no offset; say where it was that time, such as --zone Europe/Madrid"
            )
        local = found.replace(tzinfo=self.zone)
        if local.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) != found:
            raise ValueError(f"{text!r} did not exist in {self.zone.key}: clocks were put forward over it")
        return local


def _iso(text: str) -> datetime | date:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is no time such as 2026-11-21 09:30; if it has another order, say it: "
            "--time-format '%d/%m/%Y %H:%M'"
        )
    try:
        if match["time"] is None:
            return date.fromisoformat(match["day"])
        return datetime.fromisoformat(f"{match['day']}T{match['time']}{(match['offset'] or '').upper()}")
    except ValueError as error:
        raise ValueError(f"there is no such time as {text!r}") from error
