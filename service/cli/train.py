"""`opportune train`: a model from what the store holds, measured and, if it is good enough, live."""

import sys
import time

import click

from service import settings as process_settings
from service.clock import utc_now
from service.storage.sql import open_store
from service.use_cases.train import Evaluated, TrainingBusyError, TrainReport, train

RULE = "-" * 78


class Steps:
    """Shows one line a step: redrawn on a terminal, written once when done elsewhere."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._terminal = sys.stderr.isatty()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show that `done` of `total` parts of a step are done."""
        started = self._started.setdefault(step, time.monotonic())
        line = f"  {step:<30} {100 * done // total:>3} %  {time.monotonic() - started:6.1f} s"
        if done == total:
            click.echo(f"\r{line}" if self._terminal else line, err=True)
        elif self._terminal:
            click.echo(f"\r{line}", err=True, nl=False)
        elif done == 0:
            click.echo(f"  {step} ...", err=True)


@click.command("train")
def train_command() -> None:
    """Train a model on what people did, and measure it.

    LightFM, on the interactions in the store; it goes live when it is good enough. Measured on each
    returning customer's next basket, which the training does not see. A model that is worse than bestsellers
    is not published.
    """
    settings = process_settings.require_home(process_settings.load())
    store = open_store(settings)
    try:
        report = train(settings, store, now=utc_now(), progress=Steps())
    except TrainingBusyError as error:
        click.echo(f"opportune: {error}", err=True)
        sys.exit(1)
    finally:
        store.close()
    for line in report_lines(report):
        click.echo(line)
    click.echo(f"  {time.process_time():.0f} s of CPU time")


def report_lines(report: TrainReport) -> list[str]:
    """Return what a person wants to know about a training."""
    lines = [
        f"Learned from {report.rows:,} interactions of {report.people:,} people with {report.items:,} items."
    ]
    if report.evaluated:
        lines += _evaluation_lines(report.evaluated, report.items)
    if report.reason:
        lines.append(report.reason[0].upper() + report.reason[1:] + ".")
    lines.append(
        f"Model {report.version} ({report.engine}) is live." if report.version else "Nothing published."
    )
    return lines


def _evaluation_lines(found: Evaluated, n_items: int) -> list[str]:
    served, static = found.scores["served"].ndcg, found.scores["lightfm static"].ndcg
    lines = [
        f"The next basket of {found.n_cases:,} people ({found.min_new} or more items new to them), among all",
        f"{n_items:,} items. Training saw neither it nor the basket before it, which serving sees. NDCG@10:",
        RULE,
        f"{'':<16}{'new items only (what they had is hidden)':<52}{'repeats too':>12}",
    ]
    lines += [
        f"{name:<16}{score.ndcg:.4f}  (se {score.se:.4f}, precision {score.precision:.3f}, "
        f"coverage {score.coverage:.2f}){found.repeats[name].ndcg:>12.4f}"
        for name, score in found.scores.items()
    ]
    ratio = f"{served / static:.2f}" if static else "-"
    blend = found.blend
    lines += [
        RULE,
        f"Served is {ratio} x LightFM's static vectors.",
        (
            f"Fitted blend: item-item {blend.item_share:.2f}, stored vector {blend.static_share:.2f}, "
            f"half-life {blend.half_life:g} baskets."
        ),
    ]
    margins = ", ".join(
        f"{difference:+.4f} (se {error:.4f}) against {name}"
        for name, (difference, error) in found.gate.margins.items()
    )
    return [*lines, f"Gate {'passed' if found.gate.passed else 'FAILED'}: served {margins}."]


commands: tuple[click.Command, ...] = (train_command,)
