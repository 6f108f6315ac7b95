"""Entry point of `opportune`; a command's module is imported only when that command runs."""

import io
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from service.catalog.findings import did_you_mean
from service.settings import SettingsError
from service.storage.ports import StoreUnavailableError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Command -> module. Imports are lazy because pandas, Ibis and LightFM take seconds to load.
COMMANDS: dict[str, str] = {
    "run": "service.cli.run",
    "new": "service.cli.desk",
    "lint": "service.cli.desk",
    "plan": "service.cli.desk",
    "apply": "service.cli.desk",
    "status": "service.cli.desk",
    "start": "service.cli.desk",
    "stop": "service.cli.desk",
    "ramp": "service.cli.desk",
    "kill": "service.cli.desk",
    "revive": "service.cli.desk",
    "ship": "service.cli.ship",
    "unship": "service.cli.ship",
    "audiences": "service.cli.audiences",
    "explain": "service.cli.explain",
    "preview": "service.cli.preview",
    "assign": "service.cli.assign",
    "doctor": "service.cli.doctor",
    "verdict": "service.cli.verdict",
    "decisions": "service.cli.actions",
    "webhooks": "service.cli.actions",
    "verify-moments": "service.cli.verify",
    "sign-in-link": "service.cli.verdict",
    "goals": "service.cli.goals",
    "metric": "service.cli.metrics",
    "analyze": "service.cli.analyze",
    "train": "service.cli.train",
    "import": "service.cli.imports",
    "quarantine": "service.cli.quarantine",
    "growthbook": "service.cli.growthbook",
    "backup": "service.cli.data",
    "restore": "service.cli.data",
    "delete-person": "service.cli.data",
    "migrate": "service.cli.data",
    "worker": "service.cli.worker",
    "demo-load": "service.cli.demo",
    "peeking": "service.cli.peeking",
}

GONE = 128 + signal.SIGPIPE  # what a shell calls the end of a program whose reader has gone


class LazyGroup(click.Group):
    """A group whose commands live in the modules named by `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return every command, in the order a reader meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        found: tuple[click.Command, ...] = import_module(COMMANDS[cmd_name]).commands
        return next(command for command in found if command.name == cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command and its arguments; of a misspelt one, say which may be meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = did_you_mean(name, COMMANDS) or "`opportune --help` lists them"
            ctx.fail(f"No such command '{name}': {near}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; a bad setting or a database that is away is one line, not a traceback."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            click.echo(f"opportune: {error}", err=True)
            sys.exit(error.exit_code)
        except StoreUnavailableError as error:
            click.echo(f"opportune: {error}", err=True)
            sys.exit(1)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opportune")
def cli() -> None:
    """Experiments, verdicts and recommendations, self-hosted."""


class Pipe(io.FileIO):
    """Standard output of a command: once nobody reads it any more, the command ends without a word."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write, or end as other programs do whose reader has gone: nothing catches that as an error."""
        try:
            return super().write(data)
        except BrokenPipeError:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - not a path of ours
                os.dup2(nowhere.fileno(), self.fileno())
            raise SystemExit(GONE) from None


def end_with_the_reader() -> None:
    """Let `opportune ... | head` end quietly, in whatever command it is."""
    out = sys.stdout
    if not isinstance(out, io.TextIOWrapper):
        return
    raw = Pipe(out.fileno(), "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        raw if isinstance(out.buffer, io.FileIO) else io.BufferedWriter(raw),
        encoding=out.encoding,
        errors=out.errors,
        line_buffering=out.line_buffering,
        write_through=out.write_through,
    )


def main() -> None:
    """Run one command."""
    # What serves for months must outlive whoever reads what it says.
    if sys.argv[1:2] not in (["run"], ["worker"]):
        end_with_the_reader()
    cli(prog_name="opportune")


if __name__ == "__main__":
    main()
