"""The tree stays one someone could inherit: sizes, contracts, lockfiles and documents are checked."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import variable_names

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 400
ROOMS = ("experiments", "recommender", "service", "scripts", "tests")


def python_files() -> list[Path]:
    """Return ours: below node_modules and hidden folders are those of others."""
    found = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return sorted(p for p in found if not {".venv", "node_modules"} & set(p.parts))


def test_no_module_is_longer_than_the_cap() -> None:
    too_long = {
        str(path.relative_to(ROOT)): n
        for path in python_files()
        if (n := len(path.read_text("utf-8").splitlines())) > MAX_LINES
    }

    assert too_long == {}


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("experiments/hashing.py", "import os", "The core is pure"),
        ("experiments/hashing.py", "import recommender.errors", "Rooms"),
        (
            "recommender/errors.py",
            "import experiments.verdict",
            "Of experiments, recommender sees only targeting",
        ),
        ("service/storage/records.py", "import service.app", "Floors of service"),
        ("recommender/model.py", "import lightfm", "Only the training module knows LightFM"),
        ("service/api/health.py", "import recommender.training", "Serving does not train"),
        ("service/clock.py", "import fnv_hash_fast", "One file knows the hash"),
        ("service/clock.py", "import re2", "One file knows the regular expressions"),
    ],
)
def test_a_contract_broken_on_purpose_is_seen(tmp_path: Path, module: str, line: str, contract: str) -> None:
    for room in ("experiments", "recommender", "service"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    broken = tmp_path / module
    broken.write_text(broken.read_text("utf-8") + f"\n{line}\n", "utf-8")

    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"{re.escape(contract)}.*BROKEN", done.stdout), done.stdout


def test_a_new_module_of_service_must_choose_a_floor(tmp_path: Path) -> None:
    for room in ("experiments", "recommender", "service"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "service" / "utils.py").write_text('"""Nothing."""\n', "utf-8")

    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "service.utils" in done.stdout


def test_every_pinned_package_has_a_hash_and_no_registry_is_named() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text("utf-8")
        pins = re.findall(r"^[a-z0-9][\w.-]*(?:\[[\w,-]+\])?==", text, flags=re.MULTILINE)

        assert len(pins) > 40
        assert len(re.findall(r"==[^\n]*\\\n\s+--hash=sha256:", text)) == len(pins)
        assert "index-url" not in text
        assert "://" not in text


def test_the_settings_page_lists_every_variable() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")

    missing = [name for name in variable_names() if f"`{name}`" not in page]
    assert missing == []


def test_links_between_documents_lead_somewhere() -> None:
    documents = [
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "examples").rglob("*.md")),
    ]
    dead = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8"))
        if "://" not in target and not (document.parent / target).exists()
    ]

    assert dead == []
