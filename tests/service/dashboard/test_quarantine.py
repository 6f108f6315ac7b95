"""The quarantine on pages: what an analyst sees, what an administrator does, what nobody else can."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from experiments.assignment import variant_of
from service.app import build_services, create_app, shut_down
from service.catalog import load
from service.cli.setup import new_sign_in_link
from service.storage.ports import IngestBatch, Store
from service.storage.records import KeyClass, QuarantinedEvent
from tests.service.use_cases.shops import FILES, KEY, START, a_store, launched, settings_in

ORDERS = 60
EXPERIMENT = load(FILES).catalog.experiments[KEY]
IN_BANNER = next(n for n in range(99) if variant_of(EXPERIMENT, f"v{n}") == "banner")


@dataclass(frozen=True, slots=True)
class Browser:
    """Somebody who is signed in."""

    client: FlaskClient

    def get(self, path: str = "") -> TestResponse:
        return self.client.get(f"/quarantine{path}")

    def send(self, what: str, **fields: str) -> TestResponse:
        """Send a form that one of our pages made."""
        found = re.search(r'name="form_token" value="(\w+)"', self.get().text)
        token = {"form_token": found[1]} if found else {}
        return self.client.post(f"/quarantine/{what}", data={**token, **fields})

    def press(self, page: TestResponse, label: str) -> TestResponse:
        """Press the button of a form, as it stands on the page."""
        for action, inside in re.findall(
            r'<form method="post" action="([^"]+)"(.*?)</form>', page.text, re.DOTALL
        ):
            if f">{label}</button>" in inside:
                fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', inside)
                return self.client.post(action, data=dict(fields))
        raise AssertionError(f"no button says {label}")

    def names(self, query: str = "") -> list[str]:
        return re.findall(r'href="/quarantine/([0-9a-f]{64})"', self.get(query).text)


@dataclass(frozen=True, slots=True)
class Desk:
    """A shop with events in quarantine."""

    home: Path
    store: Store
    app_client: FlaskClient
    analyst: Browser
    admin: Browser


def order(number: int) -> QuarantinedEvent:
    return QuarantinedEvent(
        event_id=f"o{number}",
        reason="too_old",
        detail="a client key may date events up to 7 days back",
        body=f'{{"event_id":"o{number}","type":"Order Completed","user_id":"maria",'
        '"occurred_at":"2026-03-02T09:00:00Z"}',
        received_at=START + timedelta(seconds=number),
        source="events",
        trust="server",
        context={"user_agent": "<i>Firefox</i>", "signals": "gpc"},
    )


def early(number: int) -> QuarantinedEvent:
    """An exposure to `banner` from before the launch, of a unit that has it."""
    body = (
        f'{{"event_id":"x{number}","type":"Experiment Viewed","anonymous_id":"v{number}",'
        '"occurred_at":"2026-03-01T09:00:00Z","properties":{"experiment_key":"' + KEY + '",'
        f'"variant_key":"banner","unit_type":"anonymous_id","unit_id":"v{number}","phase":1}}}}'
    )
    held = replace(order(number), reason="unknown_experiment", detail="no revision has it", body=body)
    return replace(held, received_at=START - timedelta(days=1), trust="client", context={})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with a_store(tmp_path) as store:
        launched(store)
        garbled = replace(
            order(99), reason="invalid_event", body="<script>1</script>", canonical='{"usr_id":"<b>"}'
        )
        store.append(IngestBatch(quarantined=[*(order(n) for n in range(ORDERS)), early(IN_BANNER), garbled]))
    settings = settings_in(tmp_path)
    services = build_services(settings)
    app = create_app(services)

    def signed_in(key_class: KeyClass) -> Browser:
        client = app.test_client()
        client.post(new_sign_in_link(settings, "", key_class=key_class))
        return Browser(client)

    yield Desk(
        tmp_path, services.store, app.test_client(), signed_in(KeyClass.ANALYST), signed_in(KeyClass.ADMIN)
    )
    shut_down(services)


def test_without_a_session_every_page_asks_to_sign_in(desk: Desk) -> None:
    name = desk.admin.names()[0]
    for answer in (
        desk.app_client.get("/quarantine"),
        desk.app_client.get(f"/quarantine/{name}"),
        desk.app_client.post("/quarantine/replay", data={"step": "do"}),
        desk.app_client.post("/quarantine/drop", data={"reason": "too_old", "step": "do"}),
    ):
        assert answer.status_code == 401
        assert "sign-in-link" in answer.text
        assert "too_old" not in answer.text


def test_an_analyst_sees_counts_and_what_helps_but_no_event(desk: Desk) -> None:
    page = desk.analyst.get()

    assert page.status_code == 200
    assert "62 events were set aside" in page.text
    assert page.text.index('id="too_old"') < page.text.index('id="invalid_event"')
    assert "400 days" in page.text
    assert "<button" not in page.text
    assert not re.search(r"o59|maria|Firefox|[0-9a-f]{64}", page.text)


def test_an_analyst_can_neither_look_at_an_event_nor_change_anything(desk: Desk) -> None:
    name = desk.admin.names()[0]
    before = desk.store.quarantine_counts()

    for answer in (
        desk.analyst.get(f"/{name}"),
        desk.analyst.send("replay", step="do"),
        desk.analyst.send("drop", reason="too_old", step="do"),
    ):
        assert answer.status_code == 403
        assert "for administrators" in answer.text
    assert desk.store.quarantine_counts() == before


def test_a_form_that_none_of_our_pages_made_changes_nothing(desk: Desk) -> None:
    other = Browser(create_client_of(desk))
    stolen = re.search(r'name="form_token" value="(\w+)"', other.get().text)
    assert stolen is not None

    for token in ({}, {"form_token": ""}, {"form_token": "ü"}, {"form_token": stolen[1]}):
        answer = desk.admin.client.post("/quarantine/replay", data={"step": "do", **token})

        assert answer.status_code == 403
        assert "form is too old" in answer.text
    assert desk.store.last_seq() == 0


def create_client_of(desk: Desk) -> FlaskClient:
    """Another administrator's browser."""
    client = desk.app_client.application.test_client()
    client.post(new_sign_in_link(settings_in(desk.home), "", key_class=KeyClass.ADMIN))
    return client


def test_pages_of_the_list_lead_to_every_event_and_keep_to_the_reason(desk: Desk) -> None:
    first = desk.admin.get("?reason=too_old")
    older = re.search(r'href="/quarantine(\?[^"]*after=[^"]+)#events">older', first.text)
    assert older is not None
    second = desk.admin.names(older[1].replace("&amp;", "&"))

    assert len(desk.admin.names("?reason=too_old")) == 50
    assert len(second) == ORDERS - 50
    assert desk.admin.get("?after=nonsense").status_code == 404
    assert len(desk.admin.names("?reason=nobody")) == 50
    assert "there is no reason &#39;nobody&#39;" in desk.admin.get("?reason=nobody").text
    assert "no event is in quarantine for &#39;bot&#39;" in desk.admin.get("?reason=bot").text


def test_an_event_is_shown_as_it_was_sent_and_never_becomes_markup(desk: Desk) -> None:
    (name,) = desk.admin.names("?reason=invalid_event")

    page = desk.admin.get(f"/{name}")

    assert page.status_code == 200
    assert "&lt;script&gt;1&lt;/script&gt;" in page.text
    assert "&lt;i&gt;Firefox&lt;/i&gt;" in page.text
    assert "As it was read" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert desk.admin.get("/000000").status_code == 404


def test_judging_again_first_tells_and_then_does(desk: Desk) -> None:
    told = desk.admin.send("replay", reason="too_old")
    assert "60 events held for too_old, judged by the catalog of today" in told.text
    assert "60 would leave the quarantine, 0 would stay" in told.text
    assert desk.store.last_seq() == 0

    done = desk.admin.press(told, "Do it")

    assert "60 left the quarantine" in done.text
    assert len(desk.store.read(0, 99)) == ORDERS
    assert "too_old" not in desk.store.quarantine_counts()
    assert desk.admin.send("replay", reason="too_old").status_code == 404


def test_one_event_is_judged_by_its_own_button(desk: Desk) -> None:
    name = desk.admin.names("?reason=too_old")[0]

    told = desk.admin.press(desk.admin.get(f"/{name}"), "Judge again")
    done = desk.admin.press(told, "Do it")

    assert f"The event {name[:12]}" in done.text
    assert len(desk.store.read(0, 9)) == 1
    assert desk.admin.get(f"/{name}").status_code == 404


def test_exposures_from_before_the_launch_come_in_on_an_administrators_word(desk: Desk) -> None:
    (name,) = desk.admin.names("?reason=unknown_experiment")
    assert "The experiment did run before" in desk.admin.get(f"/{name}").text

    without = desk.admin.send("replay", event=name)
    assert "stays, now for not_running" in without.text
    assert "Look again" in without.text
    on_its_word = desk.admin.send("replay", event=name, before_launch="yes")
    desk.admin.press(on_its_word, "Do it")

    assert [logged.received.event.event_id for logged in desk.store.read(0, 9)] == [f"x{IN_BANNER}"]


def test_what_would_change_nothing_has_no_button(desk: Desk) -> None:
    told = desk.admin.send("replay", reason="invalid_event")

    assert "So nothing would change" in told.text
    assert "Do it" not in told.text


def test_deleting_asks_first(desk: Desk) -> None:
    asked = desk.admin.send("drop", reason="too_old")
    assert "60 events held for too_old. Nobody can judge them again" in asked.text
    assert desk.store.quarantine_counts()["too_old"] == ORDERS

    desk.admin.press(asked, "Delete")
    name = desk.admin.names("?reason=invalid_event")[0]
    gone = desk.admin.press(desk.admin.press(desk.admin.get(f"/{name}"), "Delete"), "Delete")

    assert "1 event is gone for good" in gone.text
    assert dict(desk.store.quarantine_counts()) == {"unknown_experiment": 1}
    assert desk.admin.send("drop", step="do").status_code == 400


def test_an_empty_quarantine_says_so(desk: Desk) -> None:
    for reason in list(desk.store.quarantine_counts()):
        desk.admin.send("drop", reason=reason, step="do")

    assert "The quarantine is empty" in desk.analyst.get().text
    assert "Not found: there is no reason &#39;nobody&#39;" in desk.analyst.get("?reason=nobody").text
    assert "Quarantine</a>" in desk.analyst.client.get("/").text
