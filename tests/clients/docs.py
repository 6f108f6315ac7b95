"""The snippets of docs/frontend*.md as files: a fenced block whose first line names it is one."""

import re
from collections.abc import Iterable
from pathlib import Path

from service.settings import REPOSITORY
from tests.clients.kit import FOLDER, need_packages
from tests.server import Server

DOCS = REPOSITORY / "docs"
SHARED = "frontend.md"
FENCE = re.compile(
    r"^```(?P<language>\w+)\n(?P<text>(?://|#) (?P<name>[\w.-]+)\n.*?)^```$", re.MULTILINE | re.DOTALL
)
PLACEHOLDERS = ("https://opportune.shop.example", "ck_your_client_key", "sk_your_server_key")


def pages() -> list[str]:
    """Return the pages about frontends, relative to docs."""
    return [SHARED, *sorted(f"frontend/{path.name}" for path in (DOCS / "frontend").glob("*.md"))]


def snippets(page: str) -> dict[str, str]:
    """Return the named blocks of a page."""
    text = (DOCS / page).read_text("utf-8")
    found = {match["name"]: match["text"] for match in FENCE.finditer(text)}
    assert len(found) == len(re.findall(r"^```\w", text, re.MULTILINE)), (
        f"{page}: a block has no name of its own"
    )
    return found


def write_snippets(server: Server, folder: Path, from_pages: Iterable[str]) -> Path:
    """Write the blocks of some pages side by side, with a running server's address and keys."""
    need_packages()
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    real = dict(zip(PLACEHOLDERS, (server.base_url, server.client_key, server.server_key), strict=True))
    for page in from_pages:
        for name, text in snippets(page).items():
            for placeholder, value in real.items():
                text = text.replace(placeholder, value)  # noqa: PLW2901
            (folder / name).write_text(text, "utf-8")
    return folder
