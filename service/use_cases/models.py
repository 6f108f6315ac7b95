"""The model and the shelf this process serves from: one reference, swapped whole, never half."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender.candidates import Shelf, ShelfItem, build_shelf, items_of_model
from recommender.errors import InvalidArtifactError
from recommender.model import Model
from service import artifacts
from service.log import logger
from service.storage.ports import Items, StoreUnavailableError
from service.storage.records import Item

FRESH_S = 2.0
"""Items are used at least this long; then the next request has them read again, beside it."""
SETTLE_S = 0.3
"""Changed items are read once, when no change has followed for this long: an upload has many batches."""
SETTLE_SHARE = 4
READ_SHARE = 50
"""A large catalogue is read so seldom that reading takes at most a fiftieth of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model directory, checked and mapped."""

    version: str
    model: Model
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What one request uses: the shelf was built for exactly this model."""

    loaded: LoadedModel | None
    shelf: Shelf


class ModelHolder:
    """Holds the live model and the items; a bad directory never takes the last good model away."""

    def __init__(self, models_dir: Path, *, settle_s: float = SETTLE_S) -> None:
        self.problem = ""
        self._root = models_dir
        self._items: Sequence[Item] | None = None
        self._serving = Serving(loaded=None, shelf=build_shelf((), None))
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._read_again_at = 0.0
        self._settling = threading.Lock()
        self._changed_at = 0.0
        self._settle_s = self._least_settle_s = settle_s

    @property
    def current(self) -> LoadedModel | None:
        """The model served, None when there is none."""
        return self._serving.loaded

    def refresh(self, version: str) -> None:
        """Serve the model of `version` (none if empty); a bad directory leaves the last good one."""
        with self._lock:
            current = self._serving.loaded
            if version == (current.version if current else ""):
                self.problem = ""
                return
            try:
                loaded = self._load(version) if version else None
            except InvalidArtifactError as error:
                self._bad(version, str(error))
                return
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a directory, serving goes on
                self._bad(version, type(error).__name__)
                return
            self.problem = ""
            self._swap(loaded)
        logger().info("model_live", model=version)

    def serving(self, store: Items) -> Serving:
        """Return the pair for one request; the items are read again beside the requests when they are old."""
        due = time.monotonic() > self._read_again_at
        if due and self._items is None:
            self.read_items(store)
        elif due and not self._reading.locked():
            threading.Thread(target=self.read_items, args=(store,), name="items", daemon=True).start()
        return self._serving

    def items_changed(self, store: Items) -> None:
        """Have the items read once, beside the requests, when the changes have come to rest."""
        self._changed_at = time.monotonic()
        if self._settling.acquire(blocking=False):
            threading.Thread(target=self._settle, args=(store,), name="items", daemon=True).start()

    def _settle(self, store: Items) -> None:
        try:
            while (left := self._changed_at + self._settle_s - time.monotonic()) > 0:
                time.sleep(left)
        finally:
            # Before the reading: a change that it may miss finds the lock free and has them read again.
            self._settling.release()
        self.read_items(store)

    def read_items(self, store: Items) -> None:
        """Read the items now; while the store is away, those read before stay."""
        with self._reading:
            started = time.monotonic()
            try:
                items = store.all_items()
            except StoreUnavailableError:
                logger().warning("items_unreadable")
                self._read_again_at = time.monotonic() + FRESH_S
                return
            if items != self._items:
                with self._lock:
                    self._items = items
                    self._swap(self._serving.loaded)
            now = time.monotonic()
            self._settle_s = max(self._least_settle_s, SETTLE_SHARE * (now - started))
            self._read_again_at = now + max(FRESH_S, READ_SHARE * (now - started))

    def _load(self, version: str) -> LoadedModel:
        manifest, model = artifacts.load(self._root, version)
        return LoadedModel(version=version, model=model, manifest=manifest)

    def _bad(self, version: str, why: str) -> None:
        logger().error("model_unusable", model=version[:80], error=why)
        self.problem = f"model {version[:80]} cannot be used: {why}"
        if self._serving.loaded is None:
            self._fall_back(version)

    def _fall_back(self, version: str) -> None:
        """Serve the newest good model on disk: a fresh process has no last good one in memory."""
        for older in artifacts.versions(self._root):
            if older != version:
                try:
                    self._swap(self._load(older))
                except InvalidArtifactError:
                    continue
                return

    def _swap(self, loaded: LoadedModel | None) -> None:
        model = loaded.model if loaded else None
        if self._items:
            listed = [ShelfItem(i.item_id, i.fields, i.categories) for i in self._items if i.active]
        else:
            listed = items_of_model(model) if model else []
        self._serving = Serving(loaded=loaded, shelf=build_shelf(listed, model))
