"""The benchmark runs from end to end; what it measures is for people to read on a quiet machine."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts.bench import load
from scripts.bench.load import Ask, percentile, raw_request
from scripts.bench.table import Sample, table
from scripts.bench_assign import main
from tests.server import running_server, write_catalog


@pytest.mark.e2e
def test_a_quick_run_measures_every_question() -> None:
    done = CliRunner().invoke(main, ["--quick"], catch_exceptions=False)

    assert done.exit_code == 0
    assert re.search(r"one flag: [\d.]+ times as fast as GrowthBook's Python SDK", done.output)
    for question in ("bulk-20", "single", "304", "SDK payload"):
        assert re.search(rf"\| {question} +\| asgi", done.output)
    assert re.search(r"\| bulk-20 +\| fixed bytes", done.output)
    assert re.search(r"\| bulk-20 +\| Flask, gthread", done.output)
    assert re.search(r"\| 48 slow, 50 streams .*\| 50 \[50-50\] *\|", done.output)


@pytest.mark.e2e
def test_without_wrk_the_generator_in_python_measures_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(load, "has_wrk", lambda: False)
    with running_server(tmp_path / "home", write_catalog(tmp_path / "catalog")) as server:
        ask = Ask(port=server.port, path="/healthz", method="GET")

        found = load.run(ask, server.process.pid, 0.5)

    assert found.per_second > 0
    assert 0 < found.p50 <= found.p99
    assert found.cpu > 0


def test_a_request_is_one_visitor_after_another() -> None:
    ask = Ask(port=1, path="/p", headers={"A": "b"}, bodies=(b"1", b"22"), etags=('"x"',))

    assert raw_request(ask, 3) == (
        b'POST /p HTTP/1.1\r\nHost: localhost\r\nA: b\r\nContent-Length: 2\r\nIf-None-Match: "x"\r\n\r\n22'
    )


def test_medians_and_ranges_are_told() -> None:
    assert Sample([3.0, 1.0, 2.0]).told(1) == "2.0 [1.0-3.0]"
    assert percentile([1.0, 2.0, 3.0, 4.0], 99) == 4.0
    assert table(("a", "bb"), [("x", "y")]) == "| a | bb |\n| - | -- |\n| x | y  |"
