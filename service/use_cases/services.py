"""What a use case may need, wired by `service/app.py` and handed down."""

from dataclasses import dataclass, field

from service.clock import Clock
from service.settings import Settings
from service.storage.ports import Store
from service.use_cases.exposures import ExposureBook
from service.use_cases.limits import RateLimit
from service.use_cases.meters import Meters
from service.use_cases.models import ModelHolder
from service.use_cases.slates import SlateKeeper
from service.use_cases.snapshot import SnapshotHolder
from service.use_cases.wishes import Wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One process's wiring; built once, never changed."""

    settings: Settings
    store: Store
    clock: Clock
    snapshots: SnapshotHolder
    models: ModelHolder
    meters: Meters = field(default_factory=Meters)
    exposures: ExposureBook = field(default_factory=ExposureBook)
    limit: RateLimit = field(default_factory=lambda: RateLimit(0))
    slates: SlateKeeper = field(default_factory=SlateKeeper)
    wishes: Wishes = field(default_factory=Wishes)
