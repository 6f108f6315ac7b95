"""What `make` says when a machine lacks something: one clear line, and nothing half-made."""

import json
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def setup(venv: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "scripts" / "setup.sh"), str(venv), str(ROOT / "requirements.txt")],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_compiler_is_one_clear_line(tmp_path: Path) -> None:
    done = setup(tmp_path / "venv", CC="no-such-compiler")

    assert done.returncode == 1
    assert done.stderr.startswith("setup: no C compiler ('no-such-compiler')")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "venv").exists()


def test_a_missing_python_is_one_clear_line(tmp_path: Path) -> None:
    done = setup(tmp_path / "venv", PYTHON="python0")

    assert done.returncode == 1
    assert done.stderr.startswith("setup: 'python0' is not installed")
    assert done.stderr.count("\n") == 1


def setup_clients(folder: Path, tools: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("sh") or "sh", str(ROOT / "scripts" / "setup_clients.sh"), str(folder)],
        env={"PATH": str(tools), "HOME": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )


def a_machine_with(tools: Path, *programs: str) -> Path:
    """Make a folder that holds only these programs: real ones, or `name=text` for a script."""
    tools.mkdir()
    for program in programs:
        name, is_script, text = program.partition("=")
        if is_script:
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        else:
            (tools / name).symlink_to(shutil.which(name) or name)
    return tools


def test_a_machine_without_node_or_browser_is_told_what_will_be_skipped_and_goes_on(tmp_path: Path) -> None:
    tools = a_machine_with(tmp_path / "tools", "cmp", "id=echo 1000", "nginx=")
    done = setup_clients(tmp_path / "clients", tools)

    assert done.returncode == 0
    assert "node and npm (20 or later) are missing" in done.stderr
    assert "On Debian: apt-get install chromium" in done.stderr
    assert "will be skipped" in done.stderr


def test_packages_are_installed_once_for_each_lock_file(tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    (clients / "node_modules").mkdir(parents=True)
    (clients / "package-lock.json").write_text("{}")
    npm = f"npm=echo installed >> {tmp_path}/log"
    tools = a_machine_with(tmp_path / "tools", "cmp", "cp", "node=", npm, "chromium=", "nginx=")
    for _ in range(2):
        setup_clients(clients, tools)
    (clients / "package-lock.json").write_text('{"changed": true}')
    setup_clients(clients, tools)

    assert (tmp_path / "log").read_text() == "installed\n" * 2


def test_python_clients_live_in_an_environment_of_their_own(tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    (clients / ".venv" / "bin").mkdir(parents=True)
    (clients / "requirements.txt").write_text("one==1\n")
    log = f'echo "$@" >> {tmp_path}/log'
    own = clients / ".venv" / "bin" / "python"
    own.write_text(f"#!/bin/sh\n{log}\n")
    own.chmod(0o755)
    tools = a_machine_with(tmp_path / "tools", "cmp", "cp", f"python3={log}", "chromium=", "nginx=")
    for _ in range(2):
        setup_clients(clients, tools)

    made, installed = (tmp_path / "log").read_text().splitlines()
    assert made == f"-m venv {clients}/.venv"
    assert installed.endswith(f"--require-hashes --no-deps -r {clients}/requirements.txt")


def test_the_lock_file_names_packages_and_digests_but_no_registry() -> None:
    lock = json.loads((ROOT / "tests" / "clients" / "package-lock.json").read_text("utf-8"))
    packages = [package for name, package in lock["packages"].items() if name]

    assert all("resolved" not in package and package["integrity"] for package in packages)
