"""Faults of a database server: it dies, stops, answers late, not at all, or is cut off."""

from collections.abc import Mapping

from sqlalchemy import create_engine, text

from tests.faults.history import Blow
from tests.faults.scene import POSTGRESQL, Fault, Scene


def kill_database(scene: Scene, blow: Blow) -> None:
    """Kill the database server's main process, let the clients wait, start it again."""
    cluster = scene.of_cluster()
    cluster.kill()
    scene.pause(0.0, 1.0)
    blow.note = scene.maybe_kill()
    cluster.start()


def stop_database(scene: Scene, blow: Blow) -> None:
    """Stop the database server in order and start it again."""
    cluster = scene.of_cluster()
    cluster.stop()
    scene.pause(0.0, 1.0)
    blow.note = scene.maybe_kill()
    cluster.start()


def slow_network(scene: Scene, blow: Blow) -> None:
    """Let every packet to and from the database take its time."""
    proxy = scene.of_proxy()
    proxy.delay_s = scene.rng.choice((0.02, 0.1, 0.5))
    blow.note = f"{proxy.delay_s:g} s each way"
    scene.pause(0.5, 2.0)
    blow.note += scene.maybe_kill()
    proxy.delay_s = 0.0


def silent_network(scene: Scene, blow: Blow) -> None:
    """Let nothing through, without a word to anybody."""
    proxy = scene.of_proxy()
    proxy.silent = True
    scene.pause(0.3, 2.0)
    blow.note = scene.maybe_kill()
    proxy.silent = False


def cut_connections(scene: Scene, blow: Blow) -> None:
    """Cut every connection to the database, again and again."""
    n = scene.rng.randrange(1, 6)
    for _ in range(n):
        scene.of_proxy().cut()
        scene.pause(0.0, 0.3)
    blow.note = f"{n} times"


def end_sessions(scene: Scene, blow: Blow) -> None:
    """Let the database end all our sessions, as an administrator or a fail-over does."""
    ours = "FROM pg_stat_activity WHERE application_name = 'opportune'"
    n = scene.rng.randrange(1, 4)
    for _ in range(n):
        scene.of_cluster().sql(f"SELECT count(pg_terminate_backend(pid)) {ours}")
        scene.pause(0.0, 0.3)
    blow.note = f"{n} times"


def hold_the_lock(scene: Scene, blow: Blow) -> None:
    """Lock the log, as a migration or a careless administrator does."""
    with create_engine(scene.database_url).begin() as administrator:
        administrator.execute(text("LOCK TABLE event IN ACCESS EXCLUSIVE MODE"))
        scene.pause(0.3, 1.5)
        blow.note = scene.maybe_kill()


POSTGRES_FAULTS: Mapping[str, Fault] = {
    "database killed": Fault(do=kill_database, on=POSTGRESQL, kills=True),
    "database stopped": Fault(do=stop_database, on=POSTGRESQL),
    "slow network": Fault(do=slow_network, on=POSTGRESQL),
    "silent network": Fault(do=silent_network, on=POSTGRESQL),
    "cut connections": Fault(do=cut_connections, on=POSTGRESQL),
    "sessions ended": Fault(do=end_sessions, on=POSTGRESQL),
    "log locked": Fault(do=hold_the_lock, on=POSTGRESQL),
}
