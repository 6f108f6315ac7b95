"""`opportune quarantine`: look at events that were set aside, judge them again, throw them away."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC

import click
import orjson

from service import settings as settings_module
from service.cli.desk import store_of, tells
from service.cli.desk_text import count, table
from service.storage.ports import Store
from service.storage.records import HeldEvent
from service.use_cases.exposures import ExposureBook
from service.use_cases.launch import live_catalog
from service.use_cases.quarantine import (
    ACCEPTED,
    DUPLICATE,
    LEAST_DIGITS,
    PAGE,
    REFUSED,
    Asked,
    Place,
    Replay,
    Report,
    begin_with,
    drop_reason,
    summary,
    whole,
)
from service.use_cases.quarantine_reasons import check_reason, words_of
from service.use_cases.steer import RefusedError
from service.use_cases.verdicts import when

SHOWN_DIGITS = 12
LEFT_AS = {ACCEPTED: "accepted", DUPLICATE: "duplicate", REFUSED: "refused, so not stored"}
EVENTS = click.argument("events", nargs=-1, metavar="[EVENT]...")
REASON = click.option("--reason", default="", help="Only events of this reason.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def quarantine() -> None:
    """Look after events that were set aside.

    Each is kept whole, with the reason (docs/quarantine.md). EVENT is its name in the list, or the first 6
    digits of it or more.
    """


@quarantine.command("list")
@REASON
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100_000))
@JSON
@tells
def list_(reason: str, limit: int, *, as_json: bool) -> None:
    """Count events by reason and list the newest.

    With --json: one event a line.
    """
    with _store() as store:
        _check(store, reason)
        reasons, found = store.quarantine_reasons(), _newest(store, reason, limit)
    if as_json:
        for one in found:
            click.echo(orjson.dumps(summary(one)))
        return
    if not reasons:
        click.echo("The quarantine is empty.")
        return
    rows = [(r.reason, f"{r.n:,}", when(r.last_at), words_of(r.reason).meaning) for r in reasons]
    click.echo(table([("REASON", "EVENTS", "LAST CAME", "BECAUSE"), *rows]))
    if not found:
        click.echo(f"\nNo event is in quarantine for {reason}.")
        return
    events = [
        (one.digest[:SHOWN_DIGITS], when(one.held.received_at), one.held.reason, _plain(one.held.detail))
        for one in found
    ]
    click.echo("\n" + table([("EVENT", "CAME", "REASON", "DETAIL"), *events]))
    click.echo(f"\nOne of them whole: opportune quarantine show {events[0][0]}")


@quarantine.command()
@click.argument("event")
@JSON
@tells
def show(event: str, *, as_json: bool) -> None:
    """Show one event as it was sent."""
    with _store() as store:
        one = _find(store, event)
    if as_json:
        click.echo(orjson.dumps(whole(one)))
        return
    held = one.held
    facts = [
        ("event", one.digest),
        ("event_id", held.event_id or "none that can be read"),
        ("reason", f"{held.reason}: {words_of(held.reason).meaning}"),
        ("detail", held.detail),
        ("what helps", words_of(held.reason).help),
        ("came", held.received_at.astimezone(UTC).isoformat()),
        ("through", f"{held.source}, with a {held.trust} key"),
        *held.context.items(),
    ]
    click.echo(table([(name, _plain(value)) for name, value in facts]))
    note = "" if held.encoding == "utf-8" else f" ({held.encoding}: it is no UTF-8)"
    click.echo(f"\nsent{note}\n{_plain(held.body)}")
    if held.canonical and held.canonical != held.body:
        click.echo(f"\nread as\n{_plain(held.canonical)}")


@quarantine.command()
@EVENTS
@REASON
@click.option("--dry-run", is_flag=True, help="Only tell what would happen.")
@click.option(
    "--before-launch",
    is_flag=True,
    help="Take exposures dated before the launch as well: you know that the experiment did run.",
)
@JSON
@tells
def replay(
    events: tuple[str, ...], reason: str, *, dry_run: bool, before_launch: bool, as_json: bool
) -> None:
    """Judge events again, by the rules and the catalog of today.

    All of them, those of a --reason, or each EVENT named. What is good now is stored, once, as of when it
    came; running it again changes nothing more.
    """
    if events and reason:
        raise click.UsageError("name events or a reason, not both")
    with _store() as store:
        _check(store, reason)
        loaded = live_catalog(store)
        if loaded is None:
            raise RefusedError("no catalog is live yet; `opportune apply` makes one live")
        digests = [_find(store, event).digest for event in events]
        asked = Asked(reason=reason, digests=digests, dry_run=dry_run, before_launch=before_launch)
        report = _judged(Replay(store, ExposureBook(), loaded, asked), total=_total(store, asked))
    if as_json:
        click.echo(orjson.dumps({"dry_run": dry_run, **report.members()}))
        return
    for line in _told(report, dry_run=dry_run):
        click.echo(line)


@quarantine.command()
@EVENTS
@REASON
@click.option("--dry-run", is_flag=True, help="Only tell how many there are.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
@tells
def drop(events: tuple[str, ...], reason: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete events for good: those of a --reason, or each EVENT named."""
    if bool(events) == bool(reason):
        raise click.UsageError("name events, or a reason")
    with _store() as store:
        _check(store, reason)
        digests = [_find(store, event).digest for event in events]
        n = _total(store, Asked(reason=reason, digests=digests))
        if n and not dry_run:
            if not yes:
                click.confirm(f"Delete {count(n, 'event')} for good?", abort=True, err=True)
            n = store.drop_quarantined(digests) if digests else drop_reason(store, reason)
    if as_json:
        click.echo(orjson.dumps({"dry_run": dry_run, "dropped": n}))
    elif dry_run:
        click.echo(f"{count(n, 'event')} would be deleted. Nothing was changed.")
    else:
        click.echo(f"Deleted {count(n, 'event')}.")


def _store() -> AbstractContextManager[Store]:
    return store_of(settings_module.load())


def _check(store: Store, reason: str) -> None:
    try:
        check_reason(store, reason)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--reason") from error


def _find(store: Store, event: str) -> HeldEvent:
    if len(event) < LEAST_DIGITS:
        raise RefusedError(f"'{event}': give at least {LEAST_DIGITS} digits of the event's name")
    found = begin_with(store, event)
    if not found:
        raise RefusedError(f"no event in quarantine has a name that begins with '{event}'")
    if len(found) > 1:
        raise RefusedError(f"more than one event has a name that begins with '{event}'; give more digits")
    return found[0]


def _newest(store: Store, reason: str, limit: int) -> Sequence[HeldEvent]:
    found: list[HeldEvent] = []
    place: Place | None = None
    while len(found) < limit:
        page = store.quarantined(reason=reason, after=place, limit=min(PAGE, limit - len(found)))
        if not page:
            break
        found += page
        place = (page[-1].held.received_at, page[-1].digest)
    return found


def _total(store: Store, asked: Asked) -> int:
    if asked.digests:
        return len(set(asked.digests))
    counts = store.quarantine_counts()
    return counts.get(asked.reason, 0) if asked.reason else sum(counts.values())


def _judged(replay: Replay, *, total: int) -> Report:
    report = Report()
    with click.progressbar(length=total, label="judging again", file=sys.stderr) as bar:
        for page in replay.pages():
            report.add(page)
            bar.update(page.judged)
    return report


def _told(report: Report, *, dry_run: bool) -> Iterator[str]:
    if not report.judged:
        yield "No such event is in quarantine."
        return
    left = report.became(*LEFT_AS)
    as_what = ", ".join(f"{n:,} {words}" for now, words in LEFT_AS.items() if (n := report.became(now)))
    leave = f"{left:,} leave quarantine" + (f" ({as_what})" if left else "")
    yield f"{count(report.judged, 'event')} judged again: {leave}, {report.stay:,} stay."
    rows = [
        (was, _became(was, now), f"{n:,}", _plain(report.why[was, now]))
        for (was, now), n in sorted(report.outcomes.items())
    ]
    yield table([("WAS IN FOR", "NOW", "EVENTS", "SUCH AS"), *rows])
    if dry_run:
        yield "Nothing was changed: this was a dry run."


def _became(was: str, now: str) -> str:
    return "stays" if was == now else now


def _plain(text: str) -> str:
    """Return what strangers sent so that a terminal shows it and does not obey it."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


commands: tuple[click.Command, ...] = (quarantine,)
