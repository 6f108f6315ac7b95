"""`opportune goals`: how every goal stands."""

import json
import textwrap

import click

from service import settings as settings_module
from service.cli.desk import store_of, tells
from service.clock import utc_now
from service.use_cases.goals import Standing, members, standings
from service.use_cases.launch import live_catalog

WIDTH = 100
BAR = 30
NONE = """\
The live catalog has no goal. Write one under `goals:` in a file of the catalog folder:

goals:
  grow-conversion: {statement: More visitors buy, metric: purchase, baseline: 4.2%, target: "+10%",
    owner: maria@shop.example, start: 2027-01-01, due: 2027-03-31}"""


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@tells
def goals(form: str) -> None:
    """Show how every goal stands.

    From the values that the worker keeps: one for each goal and UTC day.
    """
    with store_of(settings_module.load()) as store:
        loaded = live_catalog(store)
        found = standings(store, loaded, now=utc_now()) if loaded else ()
    if form == "json":
        click.echo(json.dumps({"goals": [members(one) for one in found]}, ensure_ascii=False, indent=2))
    else:
        click.echo("\n\n".join(_told(one) for one in found) if found else NONE)


def _told(one: Standing) -> str:
    indent = "  " * one.depth
    goal, share = one.goal, one.progress.share or 0.0
    filled = int(BAR * min(1.0, max(0.0, share)))
    today = min(BAR - 1, int(BAR * one.progress.elapsed))
    cells = ["#" if i < filled else "." for i in range(BAR)]
    cells[today] = "|"
    lines = [
        f"{goal.key}: {goal.statement}",
        f"[{''.join(cells)}] due {goal.due}, {goal.owner}",
        *textwrap.wrap(one.text, WIDTH - len(indent)),
    ]
    if one.experiments:
        lines.append(f"running: {', '.join(one.experiments)}")
    return "\n".join(f"{indent}{line}" for line in lines)


commands: tuple[click.Command, ...] = (goals,)
