"""For machines that watch: alive, ready, counters. No key; keep /metrics inside your network."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.api.context import services
from service.api.describe import Description, describe, document
from service.log import logger
from service.storage.ports import StoreUnavailableError
from service.use_cases.conservation import TOTAL_RECEIVED, imbalance, last_full_minute
from service.use_cases.growth import daily_growth, days_until_full, free_bytes, sizes
from service.use_cases.heartbeat import last_beat
from service.use_cases.meters import CounterKey, all_totals
from service.use_cases.services import Services

bp = Blueprint("health", __name__)

TEXT = "text/plain; version=0.0.4; charset=utf-8"

# Judging and erasing may keep a worker with a long history from beating for minutes.
GONE_AFTER_S = 600.0

COUNTERS = {
    "evaluations": ("Flags evaluated, approximately", "kind"),
    "events": ("Events received at all doors, by what became of them", "status"),
    "http_requests": ("Requests answered", "status"),
    "slates": ("Slates answered", "reason"),
    "slates_not_stored": ("Slates answered that could not be put on record at once", "reason"),
}


class HealthAnswer(Schema):
    """The process answers."""

    status = fields.String(required=True)


class ReadyAnswer(Schema):
    """What is served, and what is wrong, part by part."""

    status = fields.String(required=True)
    degraded = fields.List(fields.String(), required=True)
    catalog = fields.Dict(required=True)
    store = fields.Dict(required=True)
    model = fields.Dict(required=True)
    audiences = fields.Dict(required=True)


@bp.get("/healthz")
@describe(summary="Is the process alive?", tag="operations", scopes=None, answer=HealthAnswer)
def get_healthz() -> ResponseReturnValue:
    """Say that the process answers; ask nothing of anybody."""
    return {"status": "ok"}


@bp.get("/readyz")
@describe(
    summary="Can it serve? 503 until a catalog has been read once, then 200 with what is degraded",
    tag="operations",
    scopes=None,
    answer=ReadyAnswer,
)
def get_readyz() -> ResponseReturnValue:
    """Say what is served; a dependency that goes away later is told, but does not take the service out."""
    state = readiness(services())
    return state, 200 if services().snapshots.ready else 503


def readiness(wired: Services) -> dict[str, Any]:
    """Return the state of each part."""
    snapshot = wired.snapshots.current
    store_problem = _store_problem(wired)
    model = wired.models.current
    catalog_problem = "; ".join(why for why in (snapshot.problem, _refused_catalog(wired)) if why)
    parts = {
        "catalog": catalog_problem,
        "store": store_problem,
        "model": wired.models.problem,
        "audiences": wired.snapshots.audience_problem,
    }
    return {
        "status": "ready" if wired.snapshots.ready else "starting",
        "degraded": [name for name, problem in parts.items() if problem],
        "catalog": {
            "revision": snapshot.state.revision,
            "digest": snapshot.loaded.digest,
            "problem": catalog_problem,
        },
        "store": {"ok": not store_problem, "problem": store_problem},
        "model": {
            "version": snapshot.state.model if model else "",
            "loaded": model is not None,
            "problem": wired.models.problem,
        },
        "audiences": {
            "as_of": wired.snapshots.audiences_as_of,
            "problem": wired.snapshots.audience_problem,
        },
    }


@bp.get("/metrics")
@document(
    Description(
        summary="Prometheus metrics of all web processes",
        tag="operations",
        scopes=None,
        media_type="text/plain",
    )
)
def get_metrics() -> Response:
    """Return the counters of every worker, and gauges of what is served."""
    wired = services()
    wired.meters.publish(wired.settings.meters, os.getpid())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*_counters(wired), *_gauges(wired), *_room(wired)]))
    return Response(generate_latest(registry), content_type=TEXT)


class _Collected(Collector):
    """Metrics that are already gathered."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        """Return them."""
        return self._metrics


def _counters(wired: Services) -> list[Metric]:
    totals = all_totals(wired.settings.meters)
    metrics: list[Metric] = _conservation(totals, wired.clock())
    for name, (text, label) in COUNTERS.items():
        family = CounterMetricFamily(f"opportune_{name}", text, labels=[label])
        for (counter, value), n in sorted(totals.items()):
            if counter == name:
                family.add_metric([value], n)
        metrics.append(family)
    return metrics


def _conservation(totals: Mapping[CounterKey, int], now: datetime) -> list[Metric]:
    """Return what came in, and for the last full minute whether it all came out again."""
    received = CounterMetricFamily("opportune_events_received", "Events received at all doors")
    received.add_metric([], totals.get((TOTAL_RECEIVED, ""), 0))
    counts = last_full_minute(totals, now)
    minute = GaugeMetricFamily(
        "opportune_events_minute", "Events of the last full minute, by what became of them", labels=["status"]
    )
    for status, n in counts.items():
        minute.add_metric([status], n)
    text = "Events of the last full minute of which it is not known yet what became of them"
    return [
        received,
        minute,
        GaugeMetricFamily("opportune_events_imbalance", text, value=imbalance(counts)),
    ]


def _gauges(wired: Services) -> list[Metric]:
    state = readiness(wired)
    metrics: list[Metric] = [
        GaugeMetricFamily("opportune_ready", "1 once a catalog was read", value=wired.snapshots.ready),
        GaugeMetricFamily(
            "opportune_catalog_revision", "Revision served", value=state["catalog"]["revision"]
        ),
        GaugeMetricFamily(
            "opportune_catalog_ok",
            "0 while an older revision stands in",
            value=not state["catalog"]["problem"],
        ),
        GaugeMetricFamily("opportune_store_ok", "0 while the store is away", value=state["store"]["ok"]),
        GaugeMetricFamily(
            "opportune_audiences_ok",
            "0 while a behavioural audience waits to be counted",
            value=not state["audiences"]["problem"],
        ),
        GaugeMetricFamily("opportune_model_ok", "0 without a usable model", value=state["model"]["loaded"]),
    ]
    try:
        metrics.append(
            GaugeMetricFamily("opportune_log_offset", "Newest event", value=wired.store.last_seq())
        )
        quarantine = GaugeMetricFamily("opportune_quarantine", "Quarantined events", labels=["reason"])
        for reason, n in sorted(wired.store.quarantine_counts().items()):
            quarantine.add_metric([reason], n)
        metrics.append(quarantine)
        outbox = GaugeMetricFamily("opportune_outbox", "Messages to webhooks", labels=["state"])
        for messages, n in wired.store.outbox_counts().items():
            outbox.add_metric([messages], n)
        metrics.append(outbox)
    except StoreUnavailableError:
        logger().warning("metrics_without_store")
    return metrics


def _room(wired: Services) -> list[Metric]:
    """Return how large the data is, how fast it grows and for how long the disk will do."""
    free = free_bytes(wired.settings)
    metrics: list[Metric] = [
        GaugeMetricFamily("opportune_free_bytes", "Room left on the disk of the home", value=free)
    ]
    growth = daily_growth(wired.settings)
    if growth is not None:
        text = "Bytes by which the data grows in a day, by the last week"
        metrics.append(GaugeMetricFamily("opportune_growth_bytes_per_day", text, value=growth))
        text = "Days until the disk is full at this pace, +Inf if nothing grows"
        left = days_until_full(free, growth)
        metrics.append(GaugeMetricFamily("opportune_days_until_full", text, value=left))
    try:
        parts = GaugeMetricFamily("opportune_data_bytes", "Size of the data", labels=["part"])
        for part, size in sizes(wired.store, wired.settings).items():
            parts.add_metric([part], size)
        metrics.append(parts)
    except StoreUnavailableError:
        logger().warning("metrics_without_store")
    return metrics


def _store_problem(wired: Services) -> str:
    try:
        wired.store.ping()
    except StoreUnavailableError as error:
        return wired.snapshots.store_problem or str(error) or "the store does not answer"
    return wired.snapshots.store_problem


def _refused_catalog(wired: Services) -> str:
    """Return why the worker does not make the folder live; a worker that is gone has nothing to say."""
    beat = last_beat(wired.settings.home)
    if beat is None or beat.age_s(wired.clock()) > GONE_AFTER_S:
        return ""
    return beat.problems.get("catalog", "")
