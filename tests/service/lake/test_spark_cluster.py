"""Spark as a cluster: a master and two executors, each a Java process of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.clock import to_micros
from service.lake import export_all
from service.lake.engines.spark import open_spark, start_session
from service.lake.moments import LakeReader
from tests.service.lake.histories import UNTIL, history, told, told_by_hand
from tests.service.lake.logs import ListLog, received
from tests.service.lake.test_engines import FAST
from tests.service.lake.test_kinds import EXPERIMENT, METRICS

MASTER = "local-cluster[2,1,1024]"
# The fullest of the histories, for a quantile and what is divided and compared with the past.
KEYS = ("quantile", "ratio_of_sums", "mean_before", "funnel")


NO_JAVA = pytest.mark.skipif(shutil.which("java") is None, reason="Java 17 is not installed")


@NO_JAVA
def test_a_session_of_this_machine_says_nothing_of_its_own() -> None:
    code = "from service.lake.engines.spark import _connected, start_session\n"
    code += "session = start_session('local[1]')\n_connected(session)\nsession.stop()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # What Java itself says of the modules that Spark asks for comes before any setting is read.
    assert [line for line in done.stderr.splitlines() if "incubator modules" not in line] == []
    assert done.stdout == ""


@NO_JAVA
def test_two_executors_give_the_integers_of_plain_python(tmp_path: Path) -> None:
    log = ListLog()
    of = history(0)
    log.append(received(*of.events))
    export_all(log, tmp_path)
    metrics = [metric for metric in METRICS if metric.key in KEYS]
    session = start_session(MASTER, **FAST | {"spark.sql.shuffle.partitions": "2"})

    try:
        with open_spark(session, tmp_path) as engine:
            found = told(LakeReader(engine).facts(EXPERIMENT, metrics, until_us=to_micros(UNTIL)))
        nodes = session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()
    finally:
        session.stop()

    events = list({event.event_id: event for event in of.events}.values())
    assert nodes == 3
    assert found == told_by_hand(events, metrics, source="api")
    assert found["n_events"] == sum(event.type == "Experiment Viewed" for event in events) > 50
