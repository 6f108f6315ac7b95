"""A real gunicorn on a free port, for tests of any part: `with running_server(home, catalog) as server`."""

import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from service import settings as settings_module
from service.catalog.loader import read_folder
from service.clock import utc_now
from service.settings import REPOSITORY
from service.storage.migrate import migrate
from service.storage.sql import open_store
from service.use_cases.access import keep_environment_keys
from service.use_cases.launch import apply

START_S = 120
STOP_S = 60

CATALOG = {
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n",
    "experiments/button.yaml": """\
experiment: button
variants: {control: "Buy", loud: "BUY NOW"}
metrics: {primary: purchase}
""",
    "experiments/price.yaml": """\
experiment: price
allocation: 50%
variants: {control: 2.0, half: 1}
overrides: {half: [qa-maria]}
metrics: {primary: purchase}
""",
    "experiments/members.yaml": """\
experiment: members
unit: user_id
audience: {all: [{country: {in: [ES, PT]}}]}
variants: {control: {plan: 1}, gold: {plan: 2}}
metrics: {primary: purchase}
""",
    "experiments/unborn.yaml": """\
experiment: unborn
status: draft
variants: {control: false, treatment: true}
metrics: {primary: purchase}
""",
    "flags/dark-mode.yaml": "flag: dark-mode\nvalue: true\n",
    "data.yaml": "data: {client_revenue: allow}\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running service and how to reach it."""

    base_url: str
    port: int
    client_key: str
    server_key: str
    analyst_key: str
    admin_key: str
    home: Path
    settings: settings_module.Settings
    process: subprocess.Popen[bytes]
    log: Path

    def post(self, path: str, body: Any = None, *, key: str = "", **more: Any) -> requests.Response:
        """Send JSON (or `data=`) with a key; the client key by default."""
        headers = {"Authorization": f"Bearer {key or self.client_key}", **more.pop("headers", {})}
        if "data" not in more:
            more["json"] = body
        return requests.post(self.base_url + path, headers=headers, timeout=30, **more)

    def delete(self, path: str, body: Any, *, key: str) -> requests.Response:
        """Delete with a key and a JSON body."""
        headers = {"Authorization": f"Bearer {key}"}
        return requests.delete(self.base_url + path, json=body, headers=headers, timeout=30)

    def get(self, path: str, *, key: str = "", **more: Any) -> requests.Response:
        """Fetch with a key, if one is given."""
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
        return requests.get(self.base_url + path, headers=headers, timeout=30, **more)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must happen; the limit is there only to end a broken test."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def write_catalog(folder: Path, files: Mapping[str, str] = CATALOG) -> Path:
    """Write a small catalog and return its folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_keys() -> dict[str, str]:
    """Return fresh keys, by the name of their variable."""
    return {
        "OPPORTUNE_CLIENT_KEY": "ck_" + secrets.token_hex(16),
        "OPPORTUNE_SERVER_KEY": "sk_" + secrets.token_hex(16),
        "OPPORTUNE_ANALYST_KEY": "rk_" + secrets.token_hex(16),
        "OPPORTUNE_ADMIN_KEY": "ak_" + secrets.token_hex(16),
        "OPPORTUNE_SIGNING_SECRET": secrets.token_hex(24),
    }


def prepare(settings: settings_module.Settings) -> None:
    """Migrate, store the keys, apply the catalog: what `release` and `make run` do."""
    migrate(settings.database_url)
    store = open_store(settings)
    try:
        keep_environment_keys(store, settings, now=utc_now())
        apply(store, read_folder(settings.catalog), by="test", now=utc_now())
    finally:
        store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How to start: arguments for gunicorn, a prepared home or one as it is, what /readyz shall say."""

    command: tuple[str, ...] = ("service.asgi:application",)
    fresh: bool = True
    expect: int = 200


AS_USUAL = Start()


@contextmanager
def running_server(home: Path, catalog_dir: Path, how: Start = AS_USUAL, /, **env: str) -> Iterator[Server]:
    """Start gunicorn on a free port, yield it ready, stop it by SIGTERM.

    `env` adds to the environment of the process, over what a test needs.
    """
    port = free_port()
    chosen = {
        "OPPORTUNE_HOME": str(home),
        "OPPORTUNE_CATALOG": str(catalog_dir),
        "PORT": str(port),
        "WEB_CONCURRENCY": "2",
        "OPPORTUNE_ORIGINS": "localhost,https://shop.example",
        **new_keys(),
        **env,
    }
    settings = settings_module.load(chosen)
    home.mkdir(parents=True, exist_ok=True)
    if how.fresh:
        prepare(settings)
    log = home / "server.log"
    configuration = str(REPOSITORY / "service" / "gunicorn_conf.py")
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", configuration, *how.command],
            env=settings_module.child_environment(**chosen),
            cwd=REPOSITORY,
            stdout=out,
            stderr=out,
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process, log, how.expect)
        yield Server(
            base_url=f"http://127.0.0.1:{port}",
            port=port,
            client_key=settings.client_key,
            server_key=settings.server_key,
            analyst_key=settings.analyst_key,
            admin_key=settings.admin_key,
            home=home,
            settings=settings,
            process=process,
            log=log,
        )
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask by SIGTERM, wait for the drain, kill only a process that hangs; return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _wait_until_ready(base_url: str, process: subprocess.Popen[bytes], log: Path, expect: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if requests.get(base_url + "/readyz", timeout=5).status_code == expect:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the server did not become ready:\n{log.read_text('utf-8', 'replace')[-4_000:]}")
