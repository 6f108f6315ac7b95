"""Entry point of `opportune`; a command's module is imported only when that command runs."""

import sys
from importlib import import_module

import click

from service.settings import SettingsError
from service.storage.ports import StoreUnavailableError

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
    "audiences": "service.cli.audiences",
    "explain": "service.cli.explain",
    "preview": "service.cli.preview",
    "assign": "service.cli.assign",
    "doctor": "service.cli.doctor",
    "verdict": "service.cli.verdict",
    "sign-in-link": "service.cli.verdict",
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
}


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


def main() -> None:
    """Run one command."""
    cli(prog_name="opportune")


if __name__ == "__main__":
    main()
