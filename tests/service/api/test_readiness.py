"""What /readyz says is wrong, and what it does not say to whoever has no key."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from service.api.health import readiness
from service.app import build_services, shut_down
from service.clock import utc_now
from service.use_cases.heartbeat import Heartbeat, beat
from service.use_cases.services import Services
from service.worker import Worker
from tests.service.use_cases.shops import FILES, a_store, launched, settings_in


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[Services]:
    with a_store(tmp_path) as store:
        launched(store)
        services = build_services(settings_in(tmp_path))
        yield services
        shut_down(services)


def test_a_catalog_that_the_worker_refuses_is_told_with_its_place(wired: Services) -> None:
    settings = replace(wired.settings, watch_catalog=True)
    for name, text in {**FILES, "flags.yaml": "flags: ["}.items():
        path = settings.catalog / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    worker = Worker(settings, wired.store)
    assert readiness(wired)["degraded"] == []

    for _ in range(3):
        worker.step()

    state = readiness(wired)
    assert state["degraded"] == ["catalog"]
    assert state["catalog"]["revision"] == 1
    assert state["catalog"]["problem"].startswith("flags.yaml:1:")
    (settings.catalog / "flags.yaml").unlink()
    for _ in range(3):
        worker.step()
    assert readiness(wired)["degraded"] == []


def test_a_first_catalog_with_errors_is_told_as_well(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        services = build_services(settings_in(tmp_path))
        settings = replace(services.settings, watch_catalog=True)
        settings.catalog.mkdir()
        (settings.catalog / "flags.yaml").write_text("flags: [", "utf-8")
        worker = Worker(settings, store)
        for _ in range(3):
            worker.step()

        state = readiness(services)
        shut_down(services)

    assert state["catalog"]["problem"].startswith("no catalog has been applied; flags.yaml:1:")


def test_a_worker_that_is_long_gone_has_nothing_to_say(wired: Services) -> None:
    at = (utc_now() - timedelta(hours=1)).isoformat()
    beat(
        wired.settings.home, Heartbeat(process_id=1, at=at, lake_offset=0, problems={"catalog": "x.yaml:1:1"})
    )

    assert readiness(wired)["degraded"] == []


def test_a_model_that_cannot_be_read_is_told_without_a_path_of_this_machine(
    wired: Services, tmp_path: Path
) -> None:
    version = "20260301T000000Z-0123456789ab"
    wired.store.set_live_model(version, now=utc_now())

    wired.snapshots.refresh()

    state = readiness(wired)
    assert state["degraded"] == ["model"]
    assert state["model"]["problem"].endswith(f"model {version}: manifest.json: No such file or directory")
    assert str(tmp_path) not in str(state)
