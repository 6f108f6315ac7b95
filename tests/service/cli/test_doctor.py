import json
from pathlib import Path

from click.testing import CliRunner

from service.cli.main import cli
from tests.server import CATALOG, write_catalog

SPACES = {
    "layers.yaml": """\
layers:
  one: {seed: space-1, hash_version: 1}
  two: {seed: space-2, hash_version: 1}
""",
    "flags/a.yaml": "flag: a\nlayer: {name: one, share: 50%}\n",
    "flags/b.yaml": "flag: b\nlayer: {name: two, share: 50%}\n",
}


def invoke(home: Path, catalog: Path, *arguments: str) -> tuple[int, str]:
    environment = {"OPPORTUNE_HOME": str(home), "OPPORTUNE_CATALOG": str(catalog)}
    done = CliRunner().invoke(cli, arguments, env=environment)
    return done.exit_code, done.output


def test_a_healthy_catalog_is_told_to_be_one(tmp_path: Path) -> None:
    folder = write_catalog(tmp_path / "catalog")

    code, out = invoke(tmp_path / "home", folder, "doctor", "buckets")

    assert code == 0
    assert out.startswith("3 salts of the folder ")
    assert "All independent." in out


def test_what_is_live_is_examined_and_a_folder_when_it_is_named(tmp_path: Path) -> None:
    folder = write_catalog(tmp_path / "catalog")
    other = write_catalog(tmp_path / "other", {**CATALOG, **SPACES})
    assert invoke(tmp_path / "home", folder, "apply")[0] == 0

    live = json.loads(invoke(tmp_path / "home", other, "doctor", "buckets", "--format", "json")[1])
    code, named = invoke(tmp_path / "home", folder, "doctor", "buckets", str(other), "--format", "json")

    assert live["source"] == "the live catalog (revision 1)"
    assert (len(live["salts"]), live["tests"], live["dependent"]) == (3, 12, [])
    assert code == 1
    (found,) = json.loads(named)["dependent"]
    assert [found["one"]["name"], found["other"]["name"]] == ["layer one", "layer two"]


def test_a_dependent_pair_is_named_with_what_to_do(tmp_path: Path) -> None:
    code, out = invoke(tmp_path / "home", write_catalog(tmp_path / "catalog", SPACES), "doctor", "buckets")

    assert code == 1
    assert "DEPENDENT   layer one (salt '__space-1') and layer two (salt '__space-2')" in out
    assert "1 pair of 1 dependent" in out
    assert "hash_version" in out


def test_where_nothing_splits_nothing_depends(tmp_path: Path) -> None:
    folder = write_catalog(tmp_path / "catalog", {"flags/a.yaml": "flag: a\n"})

    code, out = invoke(tmp_path / "home", folder, "doctor", "buckets")

    assert (code, "nothing can depend on anything" in out) == (0, True)
