"""Replay 30 days of the demo shop through the public HTTP API, with a planted lift in a sealed envelope.

Start the server first (`make run`), then: python scripts/simulate.py --lift 0.25

Each simulated person is a real customer of examples/shop drawn with replacement; they arrive at a random
time, whether they buy or not, and live that customer's real orders. The hash of the planted lift is printed
first and opened after the verdict, so nobody, the server least of all, can adapt to it. Needs nothing but the
API and the keys of the server: OPPORTUNE_CLIENT_KEY, OPPORTUNE_SERVER_KEY and OPPORTUNE_ANALYST_KEY, or
$OPPORTUNE_HOME/keys.env.

The envelope hides the lift, not the luck: the default seed was chosen after looking at the days on which
several seeds stop. Over 200 seeds 98 % said ship, on day 16 in the median (scripts/calibrate_demo.py).
"""

import json
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

import click

from service.clock import utc_now
from service.settings import load
from service.use_cases.demo_client import Api, DemoClientError, Sender, ask_flags
from service.use_cases.demo_data import DAYS, read_orders, week_shift
from service.use_cases.demo_people import People, World
from service.use_cases.demo_replay import Replay, Ticket

ASKERS = 6
SLOTS = 6
FINAL_WAIT_S = 180
# A day's verdict comes within seconds; on a busy machine some take longer, but a whole replay must end.
DAILY_WAIT_S = 30.0
PATIENCE_S = 120.0
EARLIER = "(earlier)"
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A planted lift and a nonce; its hash tells nothing, and can be checked by anybody afterwards."""

    text: str

    @classmethod
    def seal(cls, lift: float) -> "Envelope":
        """Put `lift` into a new envelope."""
        return cls(json.dumps({"lift": lift, "nonce": secrets.token_hex(16)}, sort_keys=True))

    @property
    def commitment(self) -> str:
        """The sha256 of the content."""
        return sha256(self.text.encode()).hexdigest()


@dataclass(slots=True, kw_only=True)
class Run:
    """One replay; `picks` is empty, and nobody sees a slate, when the second comparison does not run."""

    api: Api
    replay: Replay
    sender: Sender
    experiment: str
    picks: str
    control: str
    speed: float
    n_slates: int
    first_ship: str = ""
    patience_s: float = PATIENCE_S

    def play(self, n_days: int) -> None:
        """Replay day after day; nothing of a day is sent before all of the day before is stored.

        While the worker judges one day, the next day's visitors already ask what they get.
        """
        with ThreadPoolExecutor(ASKERS) as pool:
            self._admit(pool, self.replay.arrivals(0))
            for day in range(n_days):
                started = time.monotonic()
                self.sender.send(self.replay.events(day))
                if day + 1 < n_days:
                    self._admit(pool, self.replay.arrivals(day + 1))
                self._tell_day(day)
                if self.speed > 0:
                    time.sleep(max(0.0, 60 / self.speed - (time.monotonic() - started)))

    def _tell_day(self, day: int) -> None:
        verdict = self._wait_until(self.sender.as_of)
        line = f"day {day + 1:2d}  people {self.replay.arrivals(day).stop:6,}  {describe(verdict)}"
        if verdict is None or closed_day(verdict) < self.sender.as_of.date() - ONE_DAY:
            line += f"  {EARLIER}"
        elif verdict["decision"] == "ship" and not self.first_ship:
            self.first_ship = f"on day {day + 1}, judged up to {closed_day(verdict)}"
        click.echo(line)

    def _admit(self, pool: ThreadPoolExecutor, persons: Sequence[int]) -> None:
        for person, (main, picks, slate) in zip(persons, pool.map(self._ask, persons), strict=True):
            self.replay.admit(person, main, picks, control=self.control, slate=slate)

    def _ask(self, person: int) -> tuple[Ticket, Ticket | None, frozenset[str] | None]:
        """Ask for every flag at once, as a page would, and for the slate that its value names."""
        flags = ask_flags(self.api, self.replay.context(person))
        picks = flags.get(self.picks) if self.sees_slate(person) else None
        if picks is None or not picks.enrolled:
            return flags[self.experiment], None, None
        body = {"anonymous_id": self.replay.people.ids[person], "recommender": picks.value, "k": SLOTS}
        answer = self.api.post("/v1/recommendations", body, key="client")
        return flags[self.experiment], picks, frozenset(item["item_id"] for item in answer["items"])

    def sees_slate(self, person: int) -> bool:
        """Spread those who are shown a slate evenly over all arrivals."""
        return bool(self.picks) and person * self.n_slates % len(self.replay.people) < self.n_slates

    def _wait_until(self, moment: datetime) -> dict[str, Any] | None:
        """Give the worker time to judge every day before that of `moment`; not for ever."""
        started = time.monotonic()
        while True:
            verdict = self.api.verdict(self.experiment)
            waited = time.monotonic() - started
            is_new = verdict is not None and closed_day(verdict) >= moment.date() - ONE_DAY
            if is_new or waited > min(DAILY_WAIT_S, self.patience_s):
                self.patience_s -= waited
                return verdict
            time.sleep(0.2)

    def final_verdicts(self) -> dict[str, dict[str, Any]]:
        """Wait for the verdicts over everything that was sent, made from the same offset of the log."""
        deadline = time.monotonic() + FINAL_WAIT_S
        keys = [key for key in (self.experiment, self.picks) if key]
        while True:
            found = {key: verdict for key in keys if (verdict := self.api.verdict(key)) is not None}
            offsets = {verdict["log_offset"] for verdict in found.values()}
            if (
                len(found) == len(keys)
                and len(offsets) == 1
                and all(map(self._holds_all, keys, found.values()))
            ):
                return found
            if time.monotonic() > deadline:
                raise DemoClientError("the worker has not judged all events; is it running? See /readyz")
            time.sleep(0.5)

    def _holds_all(self, key: str, verdict: dict[str, Any]) -> bool:
        """Tell whether a verdict knows every exposure that was sent, and the newest time."""
        is_late = datetime.fromisoformat(verdict["as_of"]) >= self.sender.as_of
        return is_late and accepted_exposures(verdict) >= self.sender.exposures[key]


def closed_day(verdict: dict[str, Any]) -> date:
    """Return the last day that a verdict counts."""
    return datetime.fromisoformat(verdict["as_of"]).astimezone(UTC).date() - ONE_DAY


def accepted_exposures(verdict: dict[str, Any]) -> int:
    """Return how many exposure events of the verdict were not quarantined."""
    exposure = verdict["exposure"]
    return int(exposure["first"] + exposure["repeats"])


def primary_row(verdict: dict[str, Any]) -> dict[str, Any] | None:
    """Return the primary metric of the first variant that is compared with the control."""
    rows = (m for m in verdict["metrics"] if m["role"] == "primary" and m.get("lift"))
    return next(rows, None)


def describe(verdict: dict[str, Any] | None) -> str:
    """Return a verdict as one line."""
    if verdict is None:
        return "no verdict yet"
    row = primary_row(verdict)
    known = row is not None and row["lift"].get("lower") is not None
    lift = interval(row) if row is not None and known else "too early for an interval"
    analysed = sum(verdict["exposure"]["analysed"].values())
    judged = f"judged up to {closed_day(verdict)}, {analysed:6,} units analysed"
    return f"{judged}  {verdict['decision']:<13} {lift}"


def interval(row: dict[str, Any]) -> str:
    """Return lift and interval in percent; an open end is shown as one."""
    shown = [
        "?" if row["lift"].get(name) is None else f"{row['lift'][name]:+.1%}"
        for name in ("estimate", "lower", "upper")
    ]
    return f"lift {shown[0]} [{shown[1]}, {shown[2]}]"


def tell_check(check: dict[str, Any]) -> str:
    """Return a check in a few words."""
    if check["check"] != "srm" or not check.get("counts"):
        return f"{check['check'].replace('_', ' ')} {check['state']}: {check['detail']}"
    total = max(1, sum(check["counts"].values()))
    shares = ", ".join(f"{variant} {100 * n / total:.1f} %" for variant, n in check["counts"].items())
    return f"split {check['state']}: {shares}, p {check['p_value']:.2g}"


@click.command()
@click.option(
    "--people", default=20_000, show_default=True, type=click.IntRange(min=1), help="Simulated people."
)
@click.option("--days", default=DAYS, show_default=True, type=click.IntRange(1, DAYS), help="Days to replay.")
@click.option(
    "--lift",
    default=0.25,
    show_default=True,
    type=click.FloatRange(-1, 10, min_open=True),
    help="Planted lift of conversion; 0 is an A/A test.",
)
@click.option(
    "--seed",
    default=2015,
    show_default=True,
    type=click.IntRange(min=0),
    help="Who, when, whose life. 2015 was chosen after looking at when several seeds"
    " stop; of 200 seeds 95 % ship within the 30 days (scripts/calibrate_demo.py).",
)
@click.option(
    "--speed", default=0.0, show_default="as fast as it goes", help="At most so many days a minute."
)
@click.option("--url", default="", help="Server; default: the PORT of the settings on this machine.")
@click.option("--experiment", default="free-shipping", show_default=True)
@click.option("--control", default="control", show_default=True, help="Key of the control variant.")
@click.option("--picks", default="picks-for-you", show_default=True, help="Second comparison; '' for none.")
@click.option(
    "--slates",
    default=20_000,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many people are shown a slate, for the second comparison. Each is a request more: with fewer"
    " the replay is shorter and the second verdict less sure.",
)
@click.option("--again", is_flag=True, help="Run although the experiment has exposures of another run.")
def main(**options: Any) -> None:  # noqa: ANN401 - click passes options by name
    """Replay the demo shop's last 30 days over HTTP and see whether the verdict finds the planted lift."""
    started = time.monotonic()
    try:
        good = simulate(options)
    except DemoClientError as error:
        click.echo(f"simulate: {error}", err=True)
        sys.exit(2)
    click.echo(f"\n{time.monotonic() - started:.0f} s")
    sys.exit(0 if good else 1)


def simulate(options: dict[str, Any]) -> bool:
    """Run everything; return whether the interval covers the truth and the accounts add up."""
    lift = options["lift"]
    run = prepare(options)
    envelope = Envelope.seal(lift)
    click.echo(f"Sealed envelope: sha256 {envelope.commitment}")
    viewers = [person for person in range(len(run.replay.people)) if run.sees_slate(person)]
    run.sender.send(run.replay.history(viewers))
    click.echo(f"Sent the last order of {len(viewers):,} people who will see slates")
    run.play(options["days"])
    click.echo(f"\nSent in all: {tell(run.sender.counts)}")
    verdicts = run.final_verdicts()
    verdict = verdicts[run.experiment]
    good = report(verdict, run)
    if run.picks:
        report_picks(verdicts[run.picks], run.picks)
    return open_envelope(envelope, lift, verdict) and good


def prepare(options: dict[str, Any]) -> Run:
    """Check that the server is there and fit for a run, then draw the people.

    Raises
    ------
    DemoClientError
        If keys, experiment or a clean slate are missing.
    """
    settings = load()
    keys = {"client": settings.client_key, "server": settings.server_key, "analyst": settings.analyst_key}
    missing = [name for name, key in keys.items() if not key]
    if missing:
        raise DemoClientError(
            f"no {', '.join(missing)} key in the environment or in {settings.home / 'keys.env'}.\n"
            "Start the server with `make run`: it writes them. If it runs with another home, set the same"
            " OPPORTUNE_HOME here; if it runs elsewhere, set "
            + ", ".join(f"OPPORTUNE_{name.upper()}_KEY" for name in missing)
        )
    api = Api(options["url"] or f"http://127.0.0.1:{settings.port}", keys)
    picks = check_server(api, options)
    world = World.of(read_orders())
    people = People.draw(world, n_people=options["people"], n_days=options["days"], seed=options["seed"])
    shift = week_shift(utc_now())
    replay = Replay(world=world, people=people, shift=shift, lift=options["lift"])
    return Run(
        api=api,
        replay=replay,
        sender=Sender(api),
        experiment=options["experiment"],
        picks=picks,
        control=options["control"],
        speed=options["speed"],
        n_slates=min(options["slates"], options["people"]),
    )


def check_server(api: Api, options: dict[str, Any]) -> str:
    """Refuse a run that could not be read afterwards; return the key of the second comparison, if it runs."""
    key = options["experiment"]
    flags = ask_flags(
        api, {"targetingKey": "00000000-0000-4000-8000-000000000000", "country": "United Kingdom"}
    )
    if key not in flags:
        raise DemoClientError(
            f"the server has no experiment {key!r}; it serves {', '.join(flags) or 'nothing'}"
        )
    verdict = api.verdict(key)
    if (
        verdict
        and verdict["phase"] == flags[key].phase
        and verdict["exposure"]["events"]
        and not options["again"]
    ):
        raise DemoClientError(
            f"{key} has {verdict['exposure']['events']:,} exposures already: mixed with another run's, a"
            " verdict says nothing about this envelope.\n"
            "Start from nothing (OPPORTUNE_HOME=/an/empty/folder make run), or"
            f" set `phase: {flags[key].phase + 1}` in the experiment's file and `opportune apply`.\n"
            "--again runs nevertheless; take another --seed then."
        )
    picks: str = options["picks"]
    return picks if picks in flags else ""


def tell(counts: Mapping[str, int]) -> str:
    """Return counts by name."""
    return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items()))


def report(verdict: dict[str, Any], run: Run) -> bool:
    """Print the verdict and its accounts; return whether they add up."""
    click.echo(f"\n{run.experiment}: {describe(verdict)}")
    click.echo(f"  first said ship   {run.first_ship or 'on no day'}")
    told = [check for check in verdict["checks"] if check["check"] == "srm" or check["state"] != "ok"]
    for check in told:
        click.echo(f"  check             {tell_check(check)}")
    click.echo(f"  check             {len(verdict['checks']) - len(told)} others ok")
    exposure = verdict["exposure"]
    quarantined = sum(exposure["quarantined"].values())
    click.echo(
        f"  exposures         {exposure['events']:,} = {exposure['first']:,} first"
        f" + {exposure['repeats']:,} repeats + {quarantined:,} quarantined"
        + (f" ({tell(exposure['quarantined'])})" if quarantined else "")
    )
    units, analysed = sum(exposure["exposed_units"].values()), sum(exposure["analysed"].values())
    left_out = " + ".join(
        f"{n:,} {name.replace('_', ' ')}" for name, n in sorted(exposure["excluded"].items())
    )
    click.echo(f"  exposed units     {units:,} = {analysed:,} analysed + {left_out or '0 left out'}")
    identities = {
        "events": exposure["events"] == exposure["first"] + exposure["repeats"] + quarantined,
        "units": units == analysed + sum(exposure["excluded"].values()),
        "sent": accepted_exposures(verdict) == run.sender.exposures[run.experiment],
    }
    wrong = [name for name, holds in identities.items() if not holds]
    click.echo(f"  the accounts      {'add up' if not wrong else 'DO NOT ADD UP: ' + ', '.join(wrong)}")
    return not wrong


def report_picks(verdict: dict[str, Any], key: str) -> None:
    """Print the second comparison, which nobody planted anything in."""
    click.echo(f"\n{key} (agreement with the next order, NOT sales uplift): {describe(verdict)}")


def open_envelope(envelope: Envelope, lift: float, verdict: dict[str, Any]) -> bool:
    """Open the envelope and say whether the interval holds the truth."""
    click.echo(f"\nThe envelope held {envelope.text}")
    click.echo(f"  check it: printf '%s' '{envelope.text}' | sha256sum")
    row = primary_row(verdict)
    if row is None or row["lift"].get("lower") is None:
        click.echo("  it is too early for an interval: more people or more days")
        return True
    upper = row["lift"]["upper"]
    covered = bool(row["lift"]["lower"] <= lift and (upper is None or lift <= upper))
    click.echo(
        f"  planted {lift:+.1%}: the interval {'covers it' if covered else 'MISSES IT'} ({interval(row)})"
    )
    return covered


if __name__ == "__main__":
    main()
