"""Composition root: adapters are chosen here and nowhere else."""

import os
from functools import partial
from typing import Any

import orjson
from flask import Flask
from flask.json.provider import JSONProvider

from service import log
from service.api import (
    catalog,
    consent,
    cors,
    decisions,
    events,
    goals,
    growthbook,
    health,
    history,
    identity,
    openapi,
    people,
    problems,
    quarantine,
    recommendations,
    requests,
    segment,
    variants,
    verdicts,
)
from service.api.context import EXTENSION
from service.clock import utc_now
from service.dashboard import views as dashboard
from service.hotpath import prepare
from service.settings import Settings
from service.storage.records import KeyClass
from service.storage.sql import open_store
from service.use_cases.access import hash_key
from service.use_cases.archive import check_restored
from service.use_cases.limits import RateLimit
from service.use_cases.meters import Meters
from service.use_cases.models import ModelHolder
from service.use_cases.services import Services
from service.use_cases.snapshot import ServingSnapshot, SnapshotHolder

BLUEPRINTS = (
    variants.bp,
    events.bp,
    growthbook.bp,
    segment.bp,
    people.bp,
    consent.bp,
    identity.bp,
    recommendations.bp,
    verdicts.bp,
    decisions.bp,
    history.bp,
    goals.bp,
    quarantine.bp,
    catalog.bp,
    health.bp,
    openapi.bp,
    dashboard.bp,
)


class OrjsonProvider(JSONProvider):
    """JSON as orjson writes it: floats keep their point, and NaN cannot leave."""

    def dumps(self, obj: Any, **_: Any) -> str:  # noqa: ANN401 - any JSON
        """Return `obj` as text."""
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return the value of a text."""
        return orjson.loads(s)


def build_services(settings: Settings) -> Services:
    """Wire one process: open the store, read what is live. Starts no thread."""
    log.configure(settings.log_level)
    check_restored(settings.home)
    store = open_store(settings)
    snapshots = SnapshotHolder(
        store, own_keys=own_keys(settings), spare=settings.spare, audiences=settings.audiences
    )
    models = ModelHolder(settings.models)
    meters = Meters()

    def follow_model(snapshot: ServingSnapshot) -> None:
        models.refresh(snapshot.state.model)

    snapshots.on_change.append(follow_model)
    snapshots.before_serving.append(prepare)
    snapshots.on_poll.append(partial(meters.publish, settings.meters, os.getpid()))
    services = Services(
        settings=settings,
        store=store,
        clock=utc_now,
        snapshots=snapshots,
        models=models,
        meters=meters,
        limit=RateLimit(settings.rate_limit),
    )
    snapshots.refresh()
    return services


def own_keys(settings: Settings) -> dict[str, KeyClass]:
    """Return the keys named by the environment, by digest: they are valid even while the store is away."""
    named = (
        (settings.client_key, KeyClass.CLIENT),
        (settings.server_key, KeyClass.SERVER),
        (settings.analyst_key, KeyClass.ANALYST),
        (settings.admin_key, KeyClass.ADMIN),
    )
    return {hash_key(key): key_class for key, key_class in named if key}


def create_app(services: Services) -> Flask:
    """Return the Flask application over `services`."""
    app = Flask("service", static_folder=None)
    app.extensions[EXTENSION] = services
    app.json = OrjsonProvider(app)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    requests.install(app)
    cors.install(app)
    problems.install(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app


def shut_down(services: Services) -> None:
    """Finish what was accepted, publish the last counts, let go of the store."""
    services.snapshots.stop()
    services.meters.publish(services.settings.meters, os.getpid())
    services.store.close()
