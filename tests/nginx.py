"""A real nginx with deploy/nginx.conf in front of a running server."""

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from service.settings import REPOSITORY
from tests.clients.kit import program
from tests.server import Server, free_port, stop, until

MAIN = """\
{user}
worker_processes 1;
pid nginx.pid;
error_log error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include opportune.conf;
}}
"""


@contextmanager
def behind_nginx(server: Server, folder: Path, **changes: str) -> Iterator[Server]:
    """Give the same server as it is reached through nginx; `changes` replaces parts of its text."""
    folder.mkdir(parents=True)
    port = free_port()
    text = (REPOSITORY / "deploy" / "nginx.conf").read_text("utf-8")
    for old, new in {
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{server.port};",
        "/var/log/nginx/opportune.log": "access.log",
        "/var/log/nginx/opportune-error.log": "server-error.log",
        **changes,
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "opportune.conf").write_text(text, "utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(user=user), "utf-8")
    command = [
        program("nginx"),
        "-p",
        str(folder),
        "-c",
        "nginx.conf",
        "-e",
        "error.log",
        "-g",
        "daemon off;",
    ]
    with (folder / "said.log").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or _answers(url))
        assert process.poll() is None, (folder / "said.log").read_text() + (folder / "error.log").read_text()
        yield dataclasses.replace(server, base_url=url, port=port)
    finally:
        stop(process)


def _answers(url: str) -> bool:
    try:
        requests.get(url, timeout=5)
    except requests.ConnectionError:
        return False
    return True
