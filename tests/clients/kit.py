"""Unmodified SDKs in a Node process, a headless Chromium, and a web server for their pages."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent
PAGES = FOLDER / "pages"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def program(*names: str) -> str:
    """Return where the first of `names` is, or skip the test: `make setup-clients` installs what it may."""
    found = next(filter(None, (shutil.which(name) for name in names)), None)
    found = found or next((path for name in names if Path(path := f"/usr/sbin/{name}").exists()), None)
    if found is None:
        pytest.skip(
            f"none of {', '.join(names)} is installed: run `make setup-clients` as root, or install it"
        )
    return found


class ClientError(Exception):
    """A command failed inside the Node process."""


def need_packages() -> None:
    """Skip the test if the npm packages are not there."""
    if not (FOLDER / "node_modules" / ".opportune-lock").exists():
        pytest.skip("the npm packages of tests/clients are missing: run `make setup-clients`")


def run_python(script: str, asked: dict[str, Any]) -> Any:
    """Run a script with the Python libraries of an environment of their own; return what it answers."""
    python = FOLDER / ".venv" / "bin" / "python"
    if not (FOLDER / ".venv" / ".opportune-lock").exists():
        pytest.skip("the Python packages of tests/clients are missing: run `make setup-clients`")
    done = subprocess.run(
        [python, FOLDER / script], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Node:
    """The process of node.mjs: `node("openfeature", url=..., cases=[...])` runs one command there."""

    def __init__(self) -> None:
        need_packages()
        self._process = subprocess.Popen(
            [program("node"), "node.mjs"],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._sent = 0

    def __call__(self, name: str, **args: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._sent += 1
        self._process.stdin.write(json.dumps({"id": self._sent, "name": name, "args": args}) + "\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            # An SDK may log to standard output too.
            if not line.startswith('{"id":'):
                continue
            answer = json.loads(line)
            if "error" in answer:
                raise ClientError(f"{name}: {answer['error']}")
            return answer["result"]
        raise ClientError(f"node ended during {name}")

    def close(self) -> None:
        """End the process and its browser."""
        with self._process:
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """One page in a browser profile of its own."""

    node: Node
    name: str

    def __call__(self, script: str) -> Any:
        """Run JavaScript in the page and return what it gives, promises awaited."""
        return self.node("evaluate", tab=self.name, script=script)

    def call(self, function: str, *args: Any) -> Any:
        """Call a function of the page's window."""
        return self(f"window.{function}({', '.join(map(json.dumps, args))})")

    def shows(self, text: str) -> None:
        """Wait until the page shows `text`."""
        self.node("appears", tab=self.name, text=text)

    def text(self, selector: str = "body") -> str:
        """Return the words a person reads there."""
        return str(self.node("text", tab=self.name, selector=selector))

    def wire(self, part: str = "", method: str = "") -> list[dict[str, Any]]:
        """Return what went over the network, filtered by a part of the address and the method."""
        seen: list[dict[str, Any]] = self.node("wire", tab=self.name)
        return [one for one in seen if part in one["url"] and method in ("", one["method"])]

    def said(self) -> list[str]:
        """Return what the page wrote to its console, errors included."""
        return list(self.node("said", tab=self.name))

    def click(self, selector: str) -> None:
        """Click on it as a person would."""
        self.node("click", tab=self.name, selector=selector)

    def reload(self) -> None:
        """Load the page again."""
        self.node("reload", tab=self.name)

    def close(self) -> None:
        """Close the page with its cookies and storage."""
        self.node("close", tab=self.name)


def open_tab(node: Node, url: str, **more: Any) -> Tab:
    """Open `url` in a fresh browser profile."""
    return Tab(node=node, name=node("open", executable=program(*BROWSERS), url=url, **more))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Serve a folder over HTTP and give the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_page(node: Node, entry: Path, folder: Path, **settings: str) -> tuple[str, list[str]]:
    """Bundle `entry` into an HTML page in `folder`; return the page's name and what went into it."""
    script = f"{entry.stem}.bundle.js"
    files: list[str] = node("bundle", entry=str(entry), out=str(folder / script))
    page = f"{entry.stem}.html"
    (folder / page).write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><link rel='icon' href='data:,'>"
        "<meta name='viewport' content='width=device-width'><title>Shop</title>"
        f"<div id='root'></div><script>window.settings = {json.dumps(settings)}</script>"
        f"<script type='module' src='{script}'></script></html>",
        "utf-8",
    )
    return page, files
