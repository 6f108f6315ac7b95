"""`opportune run`: everything on one machine, from an empty folder to serving, and a clean stop."""

import contextlib
import fcntl
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from service import settings as settings_module
from service.settings import REPOSITORY, Settings

KEY_PREFIXES = {
    "OPPORTUNE_CLIENT_KEY": "ck_",
    "OPPORTUNE_SERVER_KEY": "sk_",
    "OPPORTUNE_ANALYST_KEY": "rk_",
    "OPPORTUNE_ADMIN_KEY": "ak_",
    "OPPORTUNE_SIGNING_SECRET": "",
}
READY_TIMEOUT_S = 60.0
DRAIN_TIMEOUT_S = 40.0
IMPATIENCE_S = 1.0
WORKER_LOCK = "worker.lock"
WORKER_REFUSED = 3
BUSY_HOME = (
    "opportune: another Opportune uses this home ({home}): stop it, or set OPPORTUNE_HOME to another folder"
)


@click.command()
def run() -> None:
    """Set up what is missing and serve until Ctrl-C."""
    settings = settings_module.load()
    refuse_missing_catalog(settings)
    refuse_busy_port(settings.port)
    refuse_busy_home(settings.home)
    settings_module.require_restored(settings.home)
    with own_the_terminal():
        settings = write_missing_keys(settings)
        prepare(settings)
        sys.exit(supervise(settings))


def refuse_missing_catalog(settings: Settings) -> None:
    """Stop with one line, before anything is written, when there is no catalog folder."""
    if not settings.catalog.is_dir():
        why = "it is no folder" if settings.catalog.exists() else f"create it: mkdir -p {settings.catalog}"
        click.echo(f"opportune: OPPORTUNE_CATALOG={settings.catalog}: {why}", err=True)
        sys.exit(2)


def refuse_busy_home(home: Path) -> None:
    """Stop with one line when a worker serves this home already."""
    with contextlib.suppress(FileNotFoundError), (home / WORKER_LOCK).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo(BUSY_HOME.format(home=shown(home)), err=True)
            sys.exit(1)


def refuse_busy_port(port: int) -> None:
    """Stop with one line when something already listens on `port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            click.echo(
                f"opportune: port {port} is in use. Stop what uses it, "
                f"or choose another: PORT={port + 1} make run",
                err=True,
            )
            sys.exit(1)


@contextlib.contextmanager
def own_the_terminal() -> Iterator[None]:
    """Receive Ctrl-C alone, so that `make` in front of us waits for the drain instead of dying of it."""
    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    before = os.tcgetpgrp(terminal)
    previous = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpgrp())
        yield
    finally:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(terminal, before)
        signal.signal(signal.SIGTTOU, previous)


def write_missing_keys(settings: Settings) -> Settings:
    """Make the keys that neither the environment nor keys.env holds; return settings that include them."""
    have = {
        "OPPORTUNE_CLIENT_KEY": settings.client_key,
        "OPPORTUNE_SERVER_KEY": settings.server_key,
        "OPPORTUNE_ANALYST_KEY": settings.analyst_key,
        "OPPORTUNE_ADMIN_KEY": settings.admin_key,
        "OPPORTUNE_SIGNING_SECRET": settings.signing_secret,
    }
    missing = [name for name, value in have.items() if not value]
    if not missing:
        return settings
    settings_module.make_home(settings)
    lines = [f"{name}={KEY_PREFIXES[name]}{secrets.token_hex(24)}\n" for name in missing]
    descriptor = os.open(settings.keys_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(lines)
    settings.keys_file.chmod(0o600)
    click.echo(f"opportune: new keys in {shown(settings.keys_file)} (mode 0600; the store keeps only hashes)")
    return settings_module.load()


def prepare(settings: Settings) -> None:
    """Migrate, store key hashes, load the demo shop and train on the first run, apply the catalog."""
    from service.cli.setup import prepare_home  # noqa: PLC0415 - the port and key checks stay instant

    prepare_home(settings)


def supervise(settings: Settings) -> int:
    """Run web and worker until a signal, restart a worker that dies, drain both; return the exit code."""
    stop = threading.Event()
    asked_at = 0.0
    asked_by = ""

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        # One Ctrl-C may come twice, from the terminal and a parent; only an impatient second one kills.
        nonlocal asked_at, asked_by
        asked_by = asked_by or signal.Signals(number).name
        if stop.is_set() and time.monotonic() - asked_at > IMPATIENCE_S:
            raise SystemExit(1)
        asked_at = asked_at or time.monotonic()
        stop.set()

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    environment = settings_module.child_environment(
        OPPORTUNE_WATCH="1",
        OPPORTUNE_ORIGINS=",".join(settings.origins) or "localhost",
        OPPORTUNE_LOG_LEVEL=settings_module.explicit("OPPORTUNE_LOG_LEVEL") or "WARNING",
        PYTHONUNBUFFERED="1",
    )
    children = {"web": start_web(environment), "worker": start_worker(environment)}
    try:
        if not wait_until_ready(settings, children["web"], stop):
            return 0 if stop.is_set() else 1
        announce(settings)
        return watch(children, environment, settings, stop)
    finally:
        if asked_by:
            click.echo(f"opportune: {asked_by}: draining ...", err=True)
        drain(children)


def start_web(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start gunicorn in its own session: a Ctrl-C meant for us must not cut its requests."""
    configuration = str(REPOSITORY / "service" / "gunicorn_conf.py")
    command = [sys.executable, "-m", "gunicorn", "-c", configuration, "service.asgi:application"]
    return subprocess.Popen(command, env=environment, cwd=REPOSITORY, start_new_session=True)  # noqa: S603


def start_worker(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the second process: lake, verdicts, catalog watch, training."""
    command = [sys.executable, "-m", "service.cli.main", "worker"]
    return subprocess.Popen(command, env=environment, cwd=REPOSITORY, start_new_session=True)  # noqa: S603


def wait_until_ready(settings: Settings, web: subprocess.Popen[bytes], stop: threading.Event) -> bool:
    """Poll /readyz; False when the web process died or the user gave up."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and not stop.is_set():
        if web.poll() is not None:
            click.echo(
                "opportune: the web process ended before it was ready; its last lines are above", err=True
            )
            return False
        with contextlib.suppress(urllib.error.URLError, OSError):
            url = f"http://127.0.0.1:{settings.port}/readyz"
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:  # noqa: PLR2004
                    return True
        stop.wait(0.1)
    if not stop.is_set():
        click.echo(f"opportune: not ready after {READY_TIMEOUT_S:.0f} s; see the lines above", err=True)
    return False


def announce(settings: Settings) -> None:
    """Print where to go next."""
    from service.cli.setup import new_sign_in_link  # noqa: PLC0415

    base = f"http://127.0.0.1:{settings.port}"
    click.echo(
        f"\nOpportune is serving {'the demo shop' if settings.demo else shown(settings.catalog)}\n"
        f"  verdicts   {new_sign_in_link(settings, base)}   (signs you in once)\n"
        f"  API        {base}/docs\n"
        f"  OFREP      {base}/ofrep/v1/evaluate/flags\n"
        f"  health     {base}/readyz\n"
        f"  keys       {shown(settings.keys_file)}\n"
        f"  catalog    {shown(settings.catalog)}   (watched: save a file and it is live)"
    )
    if settings.demo:
        click.echo("  next       .venv/bin/python scripts/simulate.py --lift 0.25   (in a second terminal)")
    click.echo(
        "In a second terminal, `opportune` needs\n"
        f"  export OPPORTUNE_HOME={shlex.quote(str(settings.home))} "
        f"OPPORTUNE_CATALOG={shlex.quote(str(settings.catalog))} PORT={settings.port}"
    )
    if settings_module.explicit("OPPORTUNE_DATABASE_URL"):
        click.echo("  and the same OPPORTUNE_DATABASE_URL as here; without it, it would use another database")
    click.echo("Ctrl-C drains and stops.\n")


def watch(
    children: dict[str, subprocess.Popen[bytes]],
    environment: dict[str, str],
    settings: Settings,
    stop: threading.Event,
) -> int:
    """Wait for a signal; a dead worker is replaced, a dead web process or a taken home ends the run."""
    while not stop.wait(0.5):
        if children["web"].poll() is not None:
            click.echo("opportune: the web process ended by itself; stopping", err=True)
            return 1
        if children["worker"].poll() == WORKER_REFUSED:
            click.echo(BUSY_HOME.format(home=shown(settings.home)), err=True)
            return 1
        if children["worker"].poll() is not None:
            click.echo("opportune: the worker ended by itself; starting another", err=True)
            stop.wait(1.0)
            children["worker"] = start_worker(environment)
    return 0


def drain(children: dict[str, subprocess.Popen[bytes]]) -> None:
    """Ask every child to finish what it accepted, and wait for it."""
    for child in children.values():
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    for name, child in children.items():
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            click.echo(f"opportune: {name} did not finish in {DRAIN_TIMEOUT_S:.0f} s and is killed", err=True)
            child.kill()
            child.wait()


def shown(path: Path) -> str:
    """Return `path` relative to the current folder when it lies inside it."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


commands: tuple[click.Command, ...] = (run,)
