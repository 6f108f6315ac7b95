"""What this process serves from: one immutable value, swapped in one step, never on the request path."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from experiments.assignment import CompiledCatalog, compile_catalog
from experiments.definitions import Catalog
from experiments.membership import Membership
from service.catalog.loader import LoadedCatalog, load
from service.clock import EPOCH, utc_now
from service.log import logger
from service.storage.ports import Store, StoreUnavailableError
from service.storage.records import KeyClass, LiveState
from service.use_cases.audiences import MembersFile
from service.use_cases.spare import Spare, read_spare, save_spare
from service.use_cases.steered import steered

POLL_S = 0.5
KEYS_EVERY = 10
"""Keys are read again when anything served changes, and on every tenth poll."""
TRY_BACK = 50
"""How many older revisions a fresh process tries when the live one cannot be read."""

NO_KEYS: Mapping[str, KeyClass] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSnapshot:
    """Everything a request needs. `state.revision` is the one served; `problem` is empty when all is well.

    The experiments of `loaded` are steered as `state` says.
    """

    state: LiveState
    loaded: LoadedCatalog
    compiled: CompiledCatalog
    keys: Mapping[str, KeyClass]
    problem: str = ""
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What use cases keep for as long as this snapshot is served, under a name of theirs."""


def empty_snapshot(keys: Mapping[str, KeyClass]) -> ServingSnapshot:
    """Return what a process serves before it has seen a catalog: no flag exists."""
    loaded = LoadedCatalog(catalog=Catalog(), recommenders={}, placements={}, digest="")
    state = LiveState(version=-1, revision=0, killed=frozenset(), model="")
    problem = "no catalog has been applied"
    return ServingSnapshot(
        state=state, loaded=loaded, compiled=compile_catalog(loaded.catalog), keys=keys, problem=problem
    )


class SnapshotHolder:
    """Holds the current snapshot and, once started, follows the store in a thread.

    Neither an unreadable revision nor a dead store ever takes a snapshot away: the last good one stays.
    `own_keys` (by digest) are valid without asking the store, `spare` is a file with which a process
    begins that starts while the store is away, and `audiences` the folder of the membership file.
    `before_serving` is called with every snapshot before any request sees it, to make what takes long;
    `on_change` with each snapshot of another catalog, kill switch or model, not when people come
    into or leave an audience, and `on_poll` after each look at the store; both in the polling thread.
    """

    def __init__(
        self,
        store: Store,
        *,
        own_keys: Mapping[str, KeyClass] = NO_KEYS,
        spare: Path | None = None,
        audiences: Path | None = None,
    ) -> None:
        self.before_serving: list[Callable[[ServingSnapshot], None]] = []
        self.on_change: list[Callable[[ServingSnapshot], None]] = []
        self.on_poll: list[Callable[[], None]] = []
        self.store_problem = ""
        self.looked_at = EPOCH
        """When the store was last asked with success: what is older than this, this process knows."""
        self.missed = (0, EPOCH)
        """The version that a caller was told of and the store did not know, and when it was looked for."""
        self.changed_at = EPOCH
        """When what is served last became another."""
        self._store = store
        self._own_keys = own_keys
        self._spare = spare
        self._on_spare = False
        self._members = MembersFile(audiences)
        self._files: Mapping[str, str] = {}
        self._current = empty_snapshot(own_keys)
        self._seen_version = -1
        self._polls = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def current(self) -> ServingSnapshot:
        """The snapshot to use for one whole request: read it once."""
        return self._current

    @property
    def ready(self) -> bool:
        """Whether a catalog has ever been read; never becomes false again."""
        return self._current.state.revision > 0

    @property
    def audience_problem(self) -> str:
        """Why audiences do not hold what the catalog asks; empty when all is well."""
        return self._members.problem_of(self._current.loaded.catalog)

    @property
    def membership(self) -> Membership:
        """Who did what, as far as it is known now."""
        return self._members.current

    @property
    def audiences_as_of(self) -> str:
        """When the membership file served was made, ISO 8601; empty without one."""
        return self._members.current.as_of

    def refresh(self) -> None:
        """Look at the store once and swap the snapshot if anything served has changed; never raises."""
        with self._lock:
            moved = self._members.look()
            began = utc_now()
            try:
                changed = self._look()
                self.store_problem = ""
                self.looked_at = began
            except StoreUnavailableError as error:
                changed = self._lost(str(error))
            except Exception as error:  # noqa: BLE001 - whatever a store or a file does, serving goes on
                logger().exception("snapshot_refresh_failed")
                changed = self._lost(type(error).__name__)
            if moved and not changed:
                self._serve(self._with_members(self._current))
        if changed:
            self.changed_at = utc_now()
            self._tell(self._current)

    def start(self) -> None:
        """Follow the store from now on; call it after the fork."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._follow, name="snapshot", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; the snapshot stays usable."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def _follow(self) -> None:
        while not self._stopping.wait(POLL_S):
            self.refresh()
            for listener in self.on_poll:
                _call(listener)

    def _look(self) -> bool:
        state = self._store.live_state()
        fresh = state.version != self._seen_version
        keys = self._current.keys
        if fresh or self._polls % KEYS_EVERY == 0:
            keys = self._read_keys()
        self._polls += 1
        if not fresh:
            if keys != self._current.keys:
                self._serve(replace(self._current, keys=keys))
            return False
        self._serve(self._build(state, keys))
        self._seen_version = state.version
        self._on_spare = False
        if self._spare and self.ready:
            spare = Spare(state=self._current.state, files=self._files, keys=keys)
            save_spare(self._spare, spare)
        return True

    def _read_keys(self) -> Mapping[str, KeyClass]:
        stored = {key.sha256: key.key_class for key in self._store.keys()}  # noqa: SIM118 - a port, no dict
        return MappingProxyType({**stored, **self._own_keys})

    def _build(self, state: LiveState, keys: Mapping[str, KeyClass]) -> ServingSnapshot:
        revision, found, compiled, problem = self._load(state)
        loaded = steered(found, state)
        return ServingSnapshot(
            state=replace(state, revision=revision),
            loaded=loaded,
            compiled=compiled or self._compile(loaded, state),
            keys=keys,
            problem=problem,
        )

    def _compile(self, loaded: LoadedCatalog, state: LiveState) -> CompiledCatalog:
        return compile_catalog(loaded.catalog, killed=state.killed, membership=self._members.current)

    def _with_members(self, snapshot: ServingSnapshot) -> ServingSnapshot:
        return replace(snapshot, compiled=self._compile(snapshot.loaded, snapshot.state))

    def _load(self, state: LiveState) -> tuple[int, LoadedCatalog, CompiledCatalog | None, str]:
        """Return what to serve: the revision wanted, else the one served, else the newest readable one.

        It is compiled if it is another than the one served.
        """
        serving, wanted = self._current, state.revision
        if wanted == serving.state.revision and not self._on_spare:
            return wanted, serving.loaded, None, "" if wanted else serving.problem
        problem = ""
        for number in range(wanted, max(0, wanted - TRY_BACK), -1):
            found, why = self._read(number, state)
            if found is not None:
                return number, *found, problem
            problem = problem or f"revision {wanted} cannot be read ({why})"
            if serving.state.revision:
                break
        return serving.state.revision, serving.loaded, None, problem or serving.problem

    def _read(
        self, number: int, state: LiveState
    ) -> tuple[tuple[LoadedCatalog, CompiledCatalog] | None, str]:
        stored = self._store.revision(number)
        if stored is None:
            return None, "it is not in the store"
        try:
            loaded = load(stored.files)
            compiled = self._compile(steered(loaded, state), state)
            if state.killed:
                # What is killed was not compiled, and will have to be when it is revived.
                compile_catalog(loaded.catalog)
            self._files = stored.files
        except Exception as error:  # noqa: BLE001 - any fault of a stored file means: keep the last good one
            logger().error("revision_unreadable", revision=number, error=type(error).__name__)
            return None, f"{type(error).__name__}: {error}"[:300]
        return (loaded, compiled), ""

    def _lost(self, why: str) -> bool:
        """Note that the store is away; return whether the spare copy now stands in for it."""
        if not self.store_problem:
            logger().error("store_lost", error=why)
        self.store_problem = why or "the store does not answer"
        spare = read_spare(self._spare) if self._spare and not self.ready else None
        if spare is None:
            return False
        try:
            loaded = steered(load(spare.files), spare.state)
            compiled = self._compile(loaded, spare.state)
        except Exception:  # noqa: BLE001 - a copy that cannot be used is no copy
            return False
        standing_in = ServingSnapshot(
            state=spare.state,
            loaded=loaded,
            compiled=compiled,
            keys=MappingProxyType({**spare.keys, **self._own_keys}),
            problem="the store is away; this is the copy of what was served last",
        )
        self._serve(standing_in)
        self._on_spare = True
        return True

    def _serve(self, snapshot: ServingSnapshot) -> None:
        for listener in self.before_serving:
            _call(partial(listener, snapshot))
        self._current = snapshot

    def _tell(self, snapshot: ServingSnapshot) -> None:
        for listener in self.on_change:
            _call(partial(listener, snapshot))


def _call(listener: Callable[[], None]) -> None:
    try:
        listener()
    except Exception:  # noqa: BLE001 - one deaf listener must not stop the others
        logger().exception("snapshot_listener_failed")
