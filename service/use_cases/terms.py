"""On which terms events are taken in: whose word it is, through which door, by which rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from experiments.definitions import Metric
from service.catalog.rules import DataRules
from service.storage.records import KeyClass, Mark
from service.use_cases.access import Caller
from service.use_cases.exchange import Call
from service.use_cases.services import Services

CLIENT, SERVER = "client", "server"
EVALUATION = "ofrep"
"""The door of `expose: true`: the service made the event itself."""
GROWTHBOOK = "growthbook"
"""The door of GrowthBook's tracking plugins: the service made the event's id."""
SEGMENT = "segment"
"""The door of Segment's libraries: of calls without a messageId the service made the event's id."""
IMPORT = "import"
"""The door of files: for rows without an id the service made one."""
OWN_IDS = "viewed-"
SDK_IDS = "gb-"
CONTENT_IDS = "seg-"
ROW_IDS = "imp-"
RESERVED = {OWN_IDS: EVALUATION, SDK_IDS: GROWTHBOOK, CONTENT_IDS: SEGMENT, ROW_IDS: IMPORT}
"""Such ids follow from public facts; nobody else may give one, or an event could be taken away."""
MANY_PERSONS = frozenset({GROWTHBOOK})
"""Doors of which a client key brings many people's events in one request: plugins on servers batch them."""
MAX_AGENT = 512
_NO_REQUEST = Call(key=None, body=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms a batch is taken in.

    `trust` is client or server, `source` the front door, `rules` and `metrics` those of the live catalog.
    `user_agent` is the browser's, empty where the request comes from elsewhere; `signals` are the marks that
    the request itself puts on every event. With `backfill` exposures may be dated before the launch, as those
    of a server key always may.
    """

    trust: str
    source: str
    now: datetime
    rules: DataRules = field(default_factory=DataRules)
    user_agent: str = ""
    signals: frozenset[Mark] = frozenset()
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    backfill: bool = False


def terms_of(services: Services, caller: Caller, *, source: str, call: Call | None = None) -> Terms:
    """Return the terms of one request; what its headers say of a browser counts for a client key alone."""
    loaded = services.snapshots.current.loaded
    trust = CLIENT if caller.key_class is KeyClass.CLIENT else SERVER
    said = call or _NO_REQUEST
    return Terms(
        trust=trust,
        source=source,
        now=services.clock(),
        rules=loaded.data,
        user_agent=said.user_agent[:MAX_AGENT] if trust == CLIENT else "",
        signals=signals_of(said),
        metrics=loaded.catalog.metrics,
    )


def signals_of(call: Call) -> frozenset[Mark]:
    """Return the wishes that the browser itself tells: Sec-GPC and DNT."""
    told = ((Mark.GPC, call.sec_gpc), (Mark.DNT, call.dnt))
    return frozenset(mark for mark, value in told if value.strip() == "1")
