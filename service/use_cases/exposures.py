"""Is a reported exposure what this service would have assigned? Recomputed from the revision it names."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema, ValidationError

from experiments.assignment import variant_of
from experiments.definitions import Experiment
from experiments.identifiers import is_identifier
from experiments.lifecycle import Status, limit_of
from service.catalog.findings import CatalogError
from service.catalog.loader import load
from service.storage.analysis_records import Steering
from service.storage.ports import Store
from service.storage.records import Event, LiveState, StoredRevision
from service.wire import MAX_INTEGER, Identifier, Whole

LIVE_WITHIN = timedelta(days=30)
LOOK_BACK = 200
REMEMBERED = 256
CLOCKS_DIFFER = timedelta(minutes=5)
NOT_ENROLLED = "default"
OVERRIDE = "override"


class Refusal(NamedTuple):
    """Why an event goes into quarantine: a stable reason and a sentence for people."""

    reason: str
    detail: str


class ExposureSchema(Schema):
    """The properties of `Experiment Viewed` that are checked; others may come along."""

    class Meta:
        """Other properties are the sender's own business."""

        unknown = EXCLUDE

    experiment_key = Identifier(required=True)
    variant_key = Identifier(required=True)
    unit_type = Identifier(required=True)
    unit_id = Identifier(required=True)
    phase = Whole(required=True, least=1)
    revision = Whole(load_default=None, allow_none=True, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an exposure says."""

    experiment_key: str
    variant_key: str
    unit_type: str
    unit_id: str
    phase: int
    revision: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The experiments of one revision (None: unreadable), and when it was live (None: it still is)."""

    experiments: Mapping[str, Experiment] | None
    applied_at: datetime
    superseded_at: datetime | None


_SCHEMA = ExposureSchema()
_NAMES = ("experiment_key", "variant_key", "unit_type", "unit_id")
_STOPPED = Refusal("experiment_stopped", "it is dated after the experiment was stopped or ended")
_SHIPPED = Refusal("experiment_stopped", "it is dated while one variant was shipped to everybody")


class ExposureBook:
    """The revisions of the last 30 days, read once each: a revision never changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[int, Revision] = OrderedDict()

    def open(self, store: Store, *, now: datetime, backfill: bool) -> "ExposureDesk":
        """Return what checks the exposures of one batch; with `backfill` they may predate the launch."""
        return ExposureDesk(self, store, now=now, backfill=backfill)

    def read(self, store: Store, number: int, *, live: int) -> Revision | None:
        """Return revision `number`, or None when there is none."""
        with self._lock:
            known = self._known.get(number)
        if known is not None and (known.superseded_at is not None or number == live):
            return known
        stored = store.revision(number)
        if stored is None:
            return None
        experiments = known.experiments if known else _experiments(stored)
        successor = store.revision(number + 1)
        found = Revision(
            experiments=experiments,
            applied_at=stored.applied_at,
            superseded_at=successor.applied_at if successor else None,
        )
        with self._lock:
            self._known[number] = found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found

    def experiment_at(self, store: Store, key: str, at: datetime, *, live: int) -> Experiment | None:
        """Return an experiment as the revision that was live at `at` has it.

        What had no such experiment then is passed over, for the next newer revision that has it, or else the
        newest older one: a backfill may predate the catalog.
        """
        found: Experiment | None = None
        for number in range(live, max(0, live - LOOK_BACK), -1):
            revision = self.read(store, number, live=live)
            if revision is None:
                continue
            found = (revision.experiments or {}).get(key, found)
            if revision.applied_at <= at and found is not None:
                break
        return found


class ExposureDesk:
    """Checks the exposures of one batch; asks the store for the live revision once, and only if need be."""

    def __init__(self, book: ExposureBook, store: Store, *, now: datetime, backfill: bool) -> None:
        self._book = book
        self._store = store
        self._now = now
        self._backfill = backfill
        self._state: LiveState | None = None

    def check(self, event: Event) -> Refusal | None:
        """Return None when `event` agrees with the assignment recomputed here, else why it does not.

        Holdout, layer, ramp and bucket are recomputed; targeting cannot be, as attributes are not stored.

        Raises
        ------
        StoreUnavailableError
            If the revision cannot be read; the batch is then refused whole and sent again.
        """
        claim = read_claim(event.properties)
        if isinstance(claim, Refusal):
            return claim
        if not _is_own_id(event, claim):
            return Refusal("unit_mismatch", f"unit_id is not the {claim.unit_type} of the event")
        if event.properties.get("decision") == OVERRIDE:
            return Refusal(OVERRIDE, "the variant was forced for somebody who looks at it; never analysed")
        if self._state is None:
            self._state = self._store.live_state()
        live = self._state.revision
        # A backfill may predate the launch, and with it the steps of a ramp.
        ramp_at = None if self._backfill else event.occurred_at + CLOCKS_DIFFER
        if claim.revision is not None:
            refusal = self._check_named(claim, claim.revision, live=live, ramp_at=ramp_at)
        else:
            refusal = self._check_any(claim, live=live, ramp_at=ramp_at)
        return (
            refusal
            or self._check_begun(claim, event.occurred_at, number=claim.revision or live, live=live)
            or self._check_stopped(claim, event.occurred_at, live=live)
            or self._check_shipped(claim, event.occurred_at)
        )

    def _check_named(
        self, claim: Claim, number: int, *, live: int, ramp_at: datetime | None
    ) -> Refusal | None:
        found = self._book.read(self._store, number, live=live) if number <= live else None
        if found is None or found.experiments is None:
            return Refusal("unknown_revision", f"there is no revision {number} that can be read")
        if not _live_lately(found, self._now):
            return Refusal("stale_revision", f"revision {number} was replaced more than 30 days ago")
        experiment = found.experiments.get(claim.experiment_key)
        if experiment is None:
            return Refusal("unknown_experiment", f"revision {number} has no experiment of that key")
        return self._compare(claim, experiment, ramp_at)

    def _compare(self, claim: Claim, experiment: Experiment, ramp_at: datetime | None) -> Refusal | None:
        """Compare as the experiment is now: the steps of its ramp that were opened are open for all of it."""
        said = self._said_of(claim)
        if said is not None and experiment.ramp:
            limit = limit_of(experiment.ramp, said.ramp_steps, said.ramp_share_bp)
            experiment = replace(experiment, ramp_limit=limit)
        return compare(claim, experiment, ramp_at=ramp_at)

    def _said_of(self, claim: Claim) -> Steering | None:
        return self._state.steering.get((claim.experiment_key, claim.phase)) if self._state else None

    def _check_any(self, claim: Claim, *, live: int, ramp_at: datetime | None) -> Refusal | None:
        """Accept what any revision of the last 30 days gives; else speak of the newest that fits.

        Who is overridden is not asked about any further: it sees what it was given, not its own variant.
        """
        refusal: Refusal | None = None
        for number in range(live, max(0, live - LOOK_BACK), -1):
            found = self._book.read(self._store, number, live=live)
            if found is None or found.experiments is None:
                continue
            if not _live_lately(found, self._now):
                break
            experiment = found.experiments.get(claim.experiment_key)
            if experiment is None:
                continue
            said = self._compare(claim, experiment, ramp_at)
            if said is None or said.reason == OVERRIDE:
                return said
            refusal = refusal or said
        return refusal or Refusal("unknown_experiment", "no revision of the last 30 days has that experiment")

    def _check_begun(self, claim: Claim, occurred_at: datetime, *, number: int, live: int) -> Refusal | None:
        """Refuse what predates the phase: `number` or an older revision must have served it, backfills aside.

        One visitor's wrong clock would otherwise move the first exposure, and with it the shortest runtime.
        """
        latest = occurred_at + CLOCKS_DIFFER
        if self._backfill:
            return None
        for older in range(number, max(0, number - LOOK_BACK), -1):
            found = self._book.read(self._store, older, live=live)
            if found is None or found.applied_at > latest:
                continue
            experiment = (found.experiments or {}).get(claim.experiment_key)
            if experiment is not None and _serves(experiment, claim.phase, latest):
                return None
        return Refusal("not_running", "it is dated before this phase of the experiment went live")

    def _check_stopped(self, claim: Claim, occurred_at: datetime, *, live: int) -> Refusal | None:
        """Refuse what is dated after the experiment was stopped, ended or was taken out of the catalog.

        What is shown from then on is no treatment any more that the experiment gave.
        """
        earliest = occurred_at - CLOCKS_DIFFER
        taken_out = False
        for number in range(live, max(0, live - LOOK_BACK), -1):
            found = self._book.read(self._store, number, live=live)
            if found is None or found.applied_at > earliest:
                continue
            if found.experiments is None:
                return None
            experiment = found.experiments.get(claim.experiment_key)
            if experiment is None:
                # Taken out, if any revision before that has it; else not yet put in.
                taken_out = True
                continue
            if experiment.phase != claim.phase:
                return None
            return _STOPPED if taken_out or _is_over(experiment, earliest) else None
        return None

    def _check_shipped(self, claim: Claim, occurred_at: datetime) -> Refusal | None:
        """Refuse what is dated while a variant was shipped to everybody: nobody was split then."""
        said = self._said_of(claim)
        if said is None or said.shipped_since is None:
            return None
        since, until = said.shipped_since, said.shipped_until
        begun = since <= occurred_at - CLOCKS_DIFFER
        return _SHIPPED if begun and (until is None or occurred_at + CLOCKS_DIFFER < until) else None


def read_claim(properties: Mapping[str, Any]) -> Claim | Refusal:
    """Return what the properties of an exposure say, or in words what is wrong with them."""
    claim = obvious_claim(properties)
    if claim is not None:
        return claim
    try:
        return Claim(**_SCHEMA.load(dict(properties)))
    except ValidationError as error:
        wrong = {**error.messages_dict, **_no_unit(properties)}
        return Refusal("invalid_event", describe(ValidationError(wrong), prefix="properties."))


def _no_unit(properties: Mapping[str, Any]) -> dict[str, list[str]]:
    unit = properties.get("unit_type")
    if properties.get("unit_id") is not None or not is_identifier(unit):
        return {}
    return {"unit_id": [f"the experiment splits by {unit} (unit_type), and there is none here"]}


def obvious_claim(properties: Mapping[str, Any]) -> Claim | None:
    """Return the claim when it is plain that the schema would give the same, at a quarter of its cost."""
    named = tuple(map(properties.get, _NAMES))
    phase, revision = properties.get("phase"), properties.get("revision")
    if type(phase) is not int or not 1 <= phase <= MAX_INTEGER or not all(map(is_identifier, named)):
        return None
    if revision is not None and (type(revision) is not int or not 1 <= revision <= MAX_INTEGER):
        return None
    experiment_key, variant_key, unit_type, unit_id = named
    return Claim(
        experiment_key=str(experiment_key),
        variant_key=str(variant_key),
        unit_type=str(unit_type),
        unit_id=str(unit_id),
        phase=phase,
        revision=revision,
    )


def compare(claim: Claim, experiment: Experiment, *, ramp_at: datetime | None = None) -> Refusal | None:
    """Return None when `claim` is what `experiment` assigns, else why not; no `ramp_at`: its ramp is over."""
    if experiment.status is Status.DRAFT:
        return Refusal("not_running", "the experiment is a draft: it is not served")
    if claim.phase != experiment.phase:
        return Refusal("phase_mismatch", f"the experiment is in phase {experiment.phase}, not {claim.phase}")
    if claim.unit_type != experiment.unit:
        return Refusal("unit_mismatch", f"the experiment randomizes {experiment.unit}, not {claim.unit_type}")
    return _compare_variant(claim, experiment, ramp_at)


def _compare_variant(claim: Claim, experiment: Experiment, ramp_at: datetime | None) -> Refusal | None:
    if any(claim.unit_id in units for units in experiment.overrides.values()):
        return Refusal(OVERRIDE, "the unit is overridden for QA; it is never analysed")
    expected = variant_of(experiment, claim.unit_id, at=ramp_at)
    if expected is None or claim.variant_key == NOT_ENROLLED:
        return Refusal("not_enrolled", "the unit is not enrolled in the experiment")
    if claim.variant_key != expected:
        return Refusal("variant_mismatch", f"the unit's variant is {expected}, not {claim.variant_key}")
    return None


def describe(error: ValidationError, *, prefix: str = "") -> str:
    """Return marshmallow's messages as one line: ``occurred_at: expected a time ...; type: ...``."""
    messages = error.messages if isinstance(error.messages, dict) else {"": error.messages}
    parts = []
    for name, said in messages.items():
        what = said[0] if isinstance(said, list) and said else said
        where = "" if name in ("", "_schema") else f"{prefix}{str(name)[:80]}: "
        parts.append(f"{where}{str(what).rstrip('.')}")
    return "; ".join(parts)[:500]


def _is_own_id(event: Event, claim: Claim) -> bool:
    if claim.unit_type == "anonymous_id":
        return claim.unit_id == event.anonymous_id
    if claim.unit_type == "user_id":
        return claim.unit_id == event.user_id
    # Another unit (account, store) is an attribute; an event may say which, then it must agree.
    return bool(event.properties.get(claim.unit_type, claim.unit_id) == claim.unit_id)


def _experiments(stored: StoredRevision) -> Mapping[str, Experiment] | None:
    try:
        return load(stored.files).catalog.experiments
    except CatalogError:
        # Applied by another version of this service; the one running cannot vouch for it.
        return None


def _serves(experiment: Experiment, phase: int, at: datetime) -> bool:
    """Tell whether units could have been enrolled by `at`; what was paused or stopped since had begun."""
    start_at = experiment.schedule.start_at
    begun = experiment.status is not Status.DRAFT and experiment.phase == phase
    return begun and (start_at is None or start_at <= at)


def _is_over(experiment: Experiment, at: datetime) -> bool:
    end_at = experiment.schedule.end_at
    return experiment.status is Status.STOPPED or (end_at is not None and end_at <= at)


def _live_lately(revision: Revision, now: datetime) -> bool:
    return revision.superseded_at is None or revision.superseded_at > now - LIVE_WITHIN
