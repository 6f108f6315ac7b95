"""Model directories: whole or refused; the last good one stays, also over a restart."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from recommender.errors import InvalidArtifactError
from recommender.popularity import popularity_model
from service import artifacts
from service.use_cases.models import ModelHolder
from tests.recommender.test_candidates import no_rows
from tests.service.recommend.kit import NOW, Shop


def save(root: Path, *, items: tuple[str, ...] = ("a", "b"), days: int = 0) -> str:
    model = popularity_model(no_rows(list(items)))
    return artifacts.save(root, model, {"seed": 1}, created_at=NOW + timedelta(days=days))


def test_what_was_saved_is_mapped_back(trained: Shop) -> None:
    manifest, model = artifacts.load(trained.settings.models, trained.report.version)

    assert manifest["schema"] == "model/1"
    assert isinstance(model.item_vectors.base, np.memmap)
    assert not model.item_vectors.flags.writeable
    assert model.personal


def test_nothing_temporary_is_left_behind(tmp_path: Path) -> None:
    version = save(tmp_path)

    assert [p.name for p in tmp_path.iterdir()] == [version]
    assert save(tmp_path) == version


@pytest.mark.parametrize("name", ["popularity.npy", "item_ids.npy", "manifest.json"])
def test_one_changed_byte_is_refused(tmp_path: Path, name: str) -> None:
    version = save(tmp_path)
    path = tmp_path / version / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)

    with pytest.raises(InvalidArtifactError):
        artifacts.load(tmp_path, version)


@pytest.mark.parametrize("name", ["popularity.npy", "manifest.json"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    version = save(tmp_path)
    (tmp_path / version / name).unlink()

    with pytest.raises(InvalidArtifactError):
        artifacts.load(tmp_path, version)


def test_an_array_with_objects_is_never_unpickled(tmp_path: Path) -> None:
    version = save(tmp_path)
    path = tmp_path / version / "item_ids.npy"
    np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    facts = {"sha256": artifacts._sha256(path), "bytes": path.stat().st_size, "shape": [2], "dtype": "|O"}

    with pytest.raises(ValueError, match="Python objects"):
        artifacts._map_array(path.parent, "item_ids", facts)


@pytest.mark.parametrize("version", ["../../etc", "", "20261122T120000Z-zzzzzzzzzzzz", "a/b"])
def test_a_version_that_is_none_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(InvalidArtifactError):
        artifacts.load(tmp_path, version)


def test_a_bad_directory_leaves_the_last_good_model_and_says_so(tmp_path: Path) -> None:
    good, bad = save(tmp_path), save(tmp_path, items=("c",), days=1)
    (tmp_path / bad / "popularity.npy").write_bytes(b"rubbish")
    holder = ModelHolder(tmp_path)
    holder.refresh(good)

    holder.refresh(bad)

    assert holder.current is not None
    assert holder.current.version == good
    assert bad in holder.problem
    holder.refresh(good)
    assert holder.problem == ""


def test_a_fresh_process_falls_back_to_the_newest_good_model_on_disk(tmp_path: Path) -> None:
    good, bad = save(tmp_path), save(tmp_path, items=("c",), days=1)
    (tmp_path / bad / "manifest.json").write_text(json.dumps({"schema": "model/1"}), "utf-8")
    holder = ModelHolder(tmp_path)

    holder.refresh(bad)

    assert holder.current is not None
    assert holder.current.version == good
    assert bad in holder.problem


def test_without_any_good_model_there_is_none_and_nothing_is_raised(tmp_path: Path) -> None:
    holder = ModelHolder(tmp_path / "absent")

    holder.refresh("20261122T120000Z-000000000000")

    assert holder.current is None
    assert holder.problem
    holder.refresh("")
    assert holder.problem == ""


def test_a_mapped_model_outlives_its_directory(tmp_path: Path) -> None:
    holder = ModelHolder(tmp_path)
    version = save(tmp_path)
    holder.refresh(version)

    shutil.rmtree(tmp_path / version)

    assert holder.current is not None
    assert holder.current.model.item_ids.tolist() == [b"a", b"b"]


def test_old_models_are_removed_but_never_the_live_one(tmp_path: Path) -> None:
    kept = [save(tmp_path, items=(f"i{n}",), days=n) for n in range(4)]

    artifacts.prune(tmp_path, keep=2, live=kept[0])

    assert sorted(artifacts.versions(tmp_path)) == sorted([kept[0], kept[2], kept[3]])
    assert artifacts.versions(tmp_path / "absent") == []
