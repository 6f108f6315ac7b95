"""Follow the catalog folder: a saved file is live, or its errors are told, once for each change."""

from collections.abc import Callable
from datetime import datetime
from pathlib import PurePath

from service.catalog import CatalogError, read_folder
from service.catalog.findings import Finding
from service.log import logger
from service.settings import Settings
from service.storage.ports import Store
from service.use_cases.launch import WATCH, BlockedError, apply

Tell = Callable[[str], None]
"""Called with lines for the person who edits the folder."""


def quiet(_text: str) -> None:
    """Tell nobody."""


class CatalogWatch:
    """Tries what two looks in a row agree on, because an editor writes in pieces, and tries it once."""

    def __init__(self, settings: Settings, store: Store, *, tell: Tell = quiet) -> None:
        self._settings = settings
        self._store = store
        self._tell = tell
        self._seen: dict[str, str] | None = None
        self._tried: dict[str, str] | None = None
        self._fault: CatalogError | None = None
        self._folder_fault = ""

    def look(self, *, now: datetime) -> None:
        """Look at the folder once; make it live when it has changed.

        Raises
        ------
        CatalogError
            As long as the folder cannot be made live.
        """
        files = self._read()
        settled, self._seen = files == self._seen, files
        if settled and files != self._tried:
            self._try(files, now)
        if self._fault is not None:
            raise self._fault

    def _read(self) -> dict[str, str]:
        try:
            files = read_folder(self._settings.catalog)
        except CatalogError as error:
            # What was told of the files is told again once they can be read.
            self._seen = self._tried = None
            if self._folder_fault != str(error):
                self._folder_fault = str(error)
                self._tell_refused(error)
            self._fault = error
            raise
        self._folder_fault = ""
        return files

    def _try(self, files: dict[str, str], now: datetime) -> None:
        try:
            applied = apply(self._store, files, by=WATCH, now=now)
        except CatalogError as error:
            self._fault = error
            self._tell_refused(error)
        else:
            mended, self._fault = self._fault is not None, None
            if applied.changed:
                self._tell(f"opportune: revision {applied.revision} is live")
                if applied.started:
                    self._tell(f"opportune: running now: {', '.join(applied.started)} of its audience")
                for caution in applied.cautions:
                    self._tell(f"opportune: CAREFUL: {caution}")
                logger().info("catalog_applied", revision=applied.revision)
            elif mended:
                self._tell(f"opportune: the catalog is in order again; revision {applied.revision} is live")
        self._tried = files

    def _tell_refused(self, error: CatalogError) -> None:
        serving = self._store.live_state().revision
        kept = f"revision {serving} keeps serving" if serving else "nothing is served"
        why = (
            "the change is refused"
            if isinstance(error, BlockedError)
            else f"the catalog has {_errors(error.findings)}"
        )
        self._tell(f"\n{error}\nopportune: {why}; {kept} until it is mended")


def first_finding(error: CatalogError) -> str:
    """Return one line: the place and the words of the first finding, and how many more there are."""
    found = error.findings[0]
    refused = "refused: " if isinstance(error, BlockedError) else ""
    more = f" (and {_errors(error.findings[1:], 'more ')})" if error.findings[1:] else ""
    # An unreadable folder is named in full; who asks without a key need not know where it lies.
    place = PurePath(found.path).name if PurePath(found.path).is_absolute() else found.path
    return f"{refused}{place}:{found.line}:{found.column}: {found.code} {found.message}{more}"


def _errors(findings: tuple[Finding, ...], which: str = "") -> str:
    return f"{len(findings)} {which}error" + ("" if len(findings) == 1 else "s")
