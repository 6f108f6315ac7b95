"""`opportune verdict`: judge, list, compute again; `opportune sign-in-link`: let an analyst in."""

import json
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from experiments.definitions import Catalog
from experiments.lifecycle import Status
from service import settings as settings_module
from service.cli.desk_text import table
from service.cli.setup import new_sign_in_link
from service.clock import utc_now
from service.errors import ProblemError
from service.storage.ports import Store
from service.storage.records import KeyClass, VerdictSnapshot
from service.storage.sql import open_store
from service.use_cases import verdict_history, verdict_words, verdicts
from service.use_cases.launch import served_catalog
from service.use_cases.verdict_history import LIMIT

WIDTH = 100


class WithDefault(click.Group):
    """A group in which the name of an experiment stands for `show` and that name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `show` in front of what is neither a command nor a question for help."""
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=WithDefault)
def verdict() -> None:
    """Judge an experiment, list its verdicts, compute one again.

    `opportune verdict KEY` is short for `opportune verdict show KEY`.
    """


@verdict.command("show")
@click.argument("key")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the stored JSON; into a file or a pipe, exactly its bytes, so that its sha256 is the ETag.",
)
def show(key: str, *, as_json: bool) -> None:
    """Judge the experiment KEY now and print it."""
    from service.lake import export_all, lake_at  # noqa: PLC0415 - Ibis and DuckDB take a second to load
    from service.use_cases.judge import refresh_verdict  # noqa: PLC0415

    with _opened() as (store, lake):
        loaded = served_catalog(store)
        if loaded is None:
            _fail("no catalog is live yet; `opportune apply` makes one live")
        experiment = loaded.catalog.experiments.get(key)
        if experiment is not None and experiment.status is not Status.DRAFT:
            if not store.last_seq():
                _fail("no event has arrived yet, so there is nothing to judge")
            export_all(store, lake_at(lake, store))
            partials = settings_module.load().partials
            refresh_verdict(store, lake, key, now=utc_now(), partials=partials)
        snapshot = _find(store, loaded.catalog, key)
        if as_json:
            # A newline more would be another sha256; a terminal's prompt needs it.
            click.echo(snapshot.body.encode(), nl=sys.stdout.isatty())
        else:
            standing = verdicts.standing(loaded.catalog, store.live_state().killed, key)
            click.echo(_tell(snapshot, standing=standing))


@verdict.command()
@click.argument("key")
@click.option("--phase", type=click.IntRange(1), help="Default: the newest phase that was judged.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, LIMIT))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as GET /v1/experiments/KEY/history.")
def history(key: str, *, phase: int | None, limit: int, as_json: bool) -> None:
    """List the newest verdicts of the experiment KEY, oldest first."""
    with _opened() as (store, _lake):
        latest = store.latest_verdict(key)
        if latest is None:
            _fail(f"no verdict of {key!r} is kept")
        of_phase = phase or latest.phase
        moments = verdict_history.history(store, key, of_phase, limit=limit)
    if as_json:
        click.echo(json.dumps(verdict_history.members(key, of_phase, moments)))
    elif not moments:
        _fail(f"no verdict of phase {of_phase} of {key!r} is kept")
    else:
        click.echo(table([("id", "as of", "decision", "lift", "digest", ""), *map(_moment, moments)]))


@verdict.command()
@click.argument("name", metavar="ID")
def replay(name: str) -> None:
    """Compute the verdict ID once more from the log, and tell whether it has the same bytes.

    ID is listed by `history`, such as free-shipping.1.17. The exit code is 1 where anything differs.
    """
    from service.lake import export_all, lake_at  # noqa: PLC0415 - Ibis and DuckDB take a second to load
    from service.use_cases import replay as again  # noqa: PLC0415

    with _opened() as (store, lake):
        try:
            snapshot = verdict_history.snapshot_named(store, name)
        except ProblemError as error:
            _fail(error.detail)
        if store.last_seq():
            export_all(store, lake_at(lake, store))
        done = again.replay(store, lake, snapshot)
    if done.same:
        click.echo(f"{done.id}: same bytes, digest {done.digest}")
        return
    head = f"digest {done.recorded} then, {done.digest} now" if done.digest else "it cannot be computed again"
    click.echo(f"{done.id}: {head}")
    for difference in done.differences:
        click.echo(f"  {difference}")
    sys.exit(1)


@click.command(name="sign-in-link")
@click.option("--base", default="", help="Where the pages are served. Default: http://127.0.0.1:$PORT.")
@click.option(
    "--admin", is_flag=True, help="For an administrator: quarantined events can be seen and replayed."
)
def sign_in_link(base: str, *, admin: bool) -> None:
    """Print a link that signs an analyst in.

    It works once, within the next hour.
    """
    settings = settings_module.load()
    key_class = KeyClass.ADMIN if admin else KeyClass.ANALYST
    base = base.rstrip("/") or f"http://127.0.0.1:{settings.port}"
    click.echo(new_sign_in_link(settings, base, key_class=key_class))


@contextmanager
def _opened() -> Iterator[tuple[Store, Path | str]]:
    """Open the store of this home, with its lake."""
    settings = settings_module.require_home(settings_module.load())
    store = open_store(settings)
    try:
        yield store, settings.lake
    finally:
        store.close()


def _moment(moment: verdict_history.Moment) -> tuple[str, ...]:
    told = [
        f"{one.variant} {verdict_words.share(one.estimate)} ({verdict_words.interval(one.lift)})"
        for one in moment.treatments
    ]
    decision = f"{moment.row.decision.replace('_', ' ')} {moment.variant}".strip()
    row = moment.row
    return row.id, verdicts.when(row.as_of), decision, "; ".join(told), row.digest[:12], "final" * row.final


def _find(store: Store, catalog: Catalog, key: str) -> VerdictSnapshot:
    try:
        return verdicts.find(catalog, store, key)
    except ProblemError as error:
        _fail(error.detail)


def _tell(snapshot: VerdictSnapshot, *, standing: str) -> str:
    body = verdicts.body_of(snapshot)
    place = f"phase {snapshot.phase}, revision {snapshot.revision}, log offset {snapshot.log_offset}"
    lines = [
        f"{snapshot.experiment}: {body['decision'].replace('_', ' ').upper()}",
        *([standing] if standing else []),
        "",
        *(
            line
            for part in verdict_words.parts(body["text"])
            for line in (textwrap.fill(part.text, WIDTH), "")
        ),
        *(f"  {name:<32}{n:>12,}" for name, n in verdict_words.accounting(body["exposure"])),
        "",
        f"As of {verdicts.when(snapshot.as_of)}, {place}, digest {snapshot.digest[:12]}.",
    ]
    return "\n".join(lines)


def _fail(why: str) -> NoReturn:
    click.echo(f"opportune: {why}", err=True)
    sys.exit(1)


commands: tuple[click.Command, ...] = (verdict, sign_in_link)
