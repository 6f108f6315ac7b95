"""`opportune explain`: why a context gets its variant."""

import json
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import click
import orjson

from service import settings as settings_module
from service.cli.desk import store_of, tells
from service.clock import utc_now
from service.errors import ProblemError
from service.use_cases.explaining import Asking, explained
from service.use_cases.snapshot import SnapshotHolder
from service.wire import read_json

LIMIT = 1 << 20
WIDTH = 100
MARKS = {True: "yes", False: "NO", None: "-"}


@click.command()
@click.argument("key")
@click.option(
    "--context", "text", default="{}", help="The attributes as a JSON object; '-' reads standard input."
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@tells
def explain(key: str, text: str, form: str) -> None:
    """Say why a context gets its variant of KEY.

    Every gate in order, the one that decided and what it saw: opportune explain free-shipping --context
    '{"anonymous_id": "v-1", "country": "ES"}'. Records nothing.
    """
    context = _context(sys.stdin.read() if text == "-" else text)
    settings = settings_module.load()
    with store_of(settings) as store:
        holder = SnapshotHolder(store, audiences=settings.audiences)
        holder.refresh()
    asking = Asking(context=context, now=utc_now(), zone=settings.zone)
    found = explained(holder.current, holder.membership, key, asking)
    click.echo(
        json.dumps(found, indent=2, ensure_ascii=False) if form == "json" else "\n".join(_lines(found))
    )


def _context(text: str) -> dict[str, Any]:
    try:
        found = read_json(text.encode("utf-8", "surrogatepass"), limit=LIMIT)
    except ProblemError as error:
        raise click.BadParameter(error.detail, param_hint="--context") from error
    if not isinstance(found, dict):
        raise click.BadParameter(
            'expected a JSON object such as {"anonymous_id": "v-1"}', param_hint="--context"
        )
    return found


def _lines(found: dict[str, Any]) -> Iterator[str]:
    answer = found["assignment"]
    who = (
        f"{found['unit']} {found['unit_id']}"
        if found["unit_id"] is not None
        else f"nobody (no {found['unit']})"
    )
    yield f"{found['key']} for {who}, revision {found['revision']}"
    if answer is None:
        yield "no answer: it must split, and no id came"
    else:
        value = orjson.dumps(answer["value"]).decode()
        why = f"{answer['decision']}, {answer['reason']}, phase {answer['phase']}"
        yield f"{answer['variant']}: {value} ({why})"
    yield ""
    decided = False
    for step in found["gates"]:
        decides = not step["passed"] and not decided
        decided = decided or decides
        end = "   <- decided" if decides else ""
        yield f"{MARKS[step['passed']]:>5}  {step['gate']:<13}{step['detail']}{end}"
    if found["change"]:
        yield from ("", *textwrap.wrap(f"To change it: {found['change']}.", WIDTH, break_on_hyphens=False))


commands: tuple[click.Command, ...] = (explain,)
