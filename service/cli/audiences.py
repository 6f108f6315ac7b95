"""`opportune audiences`: how many people are in each audience that asks what people did."""

import json
from dataclasses import asdict
from datetime import datetime

import click

from service import settings as settings_module
from service.cli.desk import store_of, tells
from service.use_cases.audience_sizes import AudienceSize, audience_sizes
from service.use_cases.audiences import MembersFile, last_look
from service.use_cases.launch import live_catalog
from service.use_cases.steer import RefusedError
from service.use_cases.verdicts import when

WHO_WIDTH = 60


@click.command()
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How it is written."
)
@tells
def audiences(form: str) -> None:
    """Show how many people are in each behavioural audience.

    Of the live catalog, drafts included, as the worker last counted them.
    """
    settings = settings_module.load()
    with store_of(settings) as store:
        loaded = live_catalog(store)
    if loaded is None:
        raise RefusedError("no catalog is live yet; `opportune apply` makes one live")
    file = MembersFile(settings.audiences)
    file.look()
    sizes = audience_sizes(loaded.catalog, file.current)
    looked = last_look(settings.audiences, file.current)
    if form == "json":
        told = {
            "as_of": looked.as_of or None,
            "log_offset": looked.log_offset,
            "seconds": looked.seconds,
            "problem": file.problem_of(loaded.catalog),
            "audiences": [asdict(size) for size in sizes],
        }
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    if not sizes:
        click.echo("No audience of the live catalog asks what people did (docs/audiences.md says how).")
        return
    click.echo(_table(sizes))
    if looked.as_of:
        as_of = when(datetime.fromisoformat(looked.as_of))
        click.echo(
            f"\nAs of {as_of}, log offset {looked.log_offset}. Whoever has both kinds of id counts in both."
        )
    if problem := file.problem_of(loaded.catalog):
        click.echo(f"\n{problem[0].upper()}{problem[1:]}: is the worker running?")


def _table(sizes: list[AudienceSize]) -> str:
    rows = [("AUDIENCE", "VISITORS", "USERS", "WHO")]
    for size in sizes:
        name = size.name if size.kind == "audience" else f"{size.kind} {size.name}"
        rows.append((name, _number(size, size.visitors), _number(size, size.users), _cut(size.who)))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        f"{name:<{widths[0]}}  {visitors:>{widths[1]}}  {users:>{widths[2]}}  {who}".rstrip()
        for name, visitors, users, who in rows
    )


def _number(size: AudienceSize, number: int | None) -> str:
    if number is None:
        return "not counted yet"
    return f"{'at most ' * size.at_most}{'all but ' * size.all_but}{number:,}"


def _cut(text: str) -> str:
    return text if len(text) <= WHO_WIDTH else f"{text[: WHO_WIDTH - 1]}…"


commands: tuple[click.Command, ...] = (audiences,)
