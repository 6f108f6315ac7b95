"""A model as arrays and manifest: what does not fit together is refused."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from recommender.artifact import KINDS, check_manifest, digest_of, from_arrays, make_manifest, to_arrays
from recommender.errors import InvalidArtifactError
from recommender.model import MAX_ID_BYTES, Blend, Model, encode_ids, fits, index_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def a_model(**changes: Any) -> Model:
    members: dict[str, Any] = {
        "item_ids": encode_ids(["a", "b", "é"]),
        "item_vectors": np.ones((3, 2), dtype=np.float32),
        "item_bias": np.zeros(3, dtype=np.float32),
        "popularity": np.zeros(3, dtype=np.float32),
        "neighbour_index": np.zeros((3, 1), dtype=np.int32),
        "neighbour_weight": np.zeros((3, 1), dtype=np.float32),
        "user_ids": encode_ids(["u:1"]),
        "user_vectors": np.ones((1, 2), dtype=np.float32),
        "blend": Blend(),
    }
    return Model(**{**members, **changes})


def a_manifest(**facts: Any) -> dict[str, Any]:
    files = {name: {"sha256": "0"} for name in KINDS}
    return make_manifest(a_model(), files, {"seed": 1, **facts}, created_at=NOW)


def test_a_model_survives_the_way_there_and_back() -> None:
    model = a_model(blend=Blend(item_share=0.25, half_life=4.0))

    back = from_arrays({"blend": {"item_share": 0.25, "half_life": 4.0}}, to_arrays(model))

    assert back.blend == model.blend
    assert all((getattr(back, name) == getattr(model, name)).all() for name in KINDS)


def test_the_version_is_the_time_and_a_digest_without_the_time() -> None:
    first, later = a_manifest(), make_manifest(a_model(), a_manifest()["arrays"], {"seed": 1}, created_at=NOW)

    assert first["version"].startswith("20261121T120000Z-")
    assert first["digest"] == later["digest"] == digest_of(first)
    assert first["digest"] != a_manifest(seed=2)["digest"]


def test_a_good_manifest_passes() -> None:
    manifest = a_manifest()

    assert check_manifest(manifest, manifest["version"]) is manifest


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": "model/2"},
        {"version": "20261121T120000Z-000000000000"},
        {"seed": 2},
        {"blend": {"item_share": 1.0}},
        {"arrays": {}},
        {"digest": "0" * 64},
    ],
    ids=lambda d: next(iter(d)),
)
def test_a_changed_manifest_is_refused(damage: dict[str, Any]) -> None:
    manifest = a_manifest()
    version = manifest["version"]

    with pytest.raises(InvalidArtifactError):
        check_manifest({**manifest, **damage}, version)


def test_a_manifest_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidArtifactError):
        check_manifest(["model/1"], "20261121T120000Z-000000000000")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("item_vectors", np.ones((3, 2))),
        ("item_vectors", np.ones(3, dtype=np.float32)),
        ("item_ids", np.array(["a", "b", "c"])),
        ("neighbour_index", np.zeros((3, 1), dtype=np.int64)),
    ],
)
def test_an_array_of_the_wrong_kind_is_refused(name: str, array: Any) -> None:
    with pytest.raises(InvalidArtifactError, match=name):
        from_arrays({"blend": {}}, {**to_arrays(a_model()), name: array})


def test_missing_arrays_and_a_missing_blend_are_refused() -> None:
    with pytest.raises(InvalidArtifactError):
        from_arrays({"blend": {}}, {})
    with pytest.raises(InvalidArtifactError, match="blend"):
        from_arrays({}, to_arrays(a_model()))
    with pytest.raises(InvalidArtifactError, match="blend"):
        from_arrays({"blend": {"share": 1}}, to_arrays(a_model()))


@pytest.mark.parametrize(
    "changes",
    [
        {"item_bias": np.zeros(2, dtype=np.float32)},
        {"user_vectors": np.ones((1, 3), dtype=np.float32)},
        {"neighbour_index": np.full((3, 1), 3, dtype=np.int32)},
        {"neighbour_index": np.full((3, 1), -1, dtype=np.int32)},
        {"neighbour_weight": np.zeros((3, 2), dtype=np.float32)},
        {"item_ids": encode_ids(["b", "a", "c"])},
        {"item_ids": encode_ids(["a", "a", "c"])},
    ],
)
def test_arrays_that_do_not_fit_together_make_no_model(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArtifactError):
        a_model(**changes)


@pytest.mark.parametrize(
    "wrong", [{"item_share": 1.1}, {"static_share": -0.1}, {"half_life": 0}, {"gain": float("inf")}]
)
def test_a_blend_outside_its_domain_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidArtifactError):
        Blend(**wrong)


def test_ids_are_found_by_their_bytes() -> None:
    model = a_model()

    assert index_of(model.item_ids, ["é", "gone", "a"]).tolist() == [2, -1, 0]
    assert index_of(encode_ids([]), ["a"]).tolist() == [-1]
    assert model.user_vector("u:1") is not None
    assert model.user_vector("u:10") is None


@pytest.mark.parametrize("bad", ["", "x" * (MAX_ID_BYTES + 1), "nul\0"])
def test_an_id_that_cannot_be_kept_is_refused(bad: str) -> None:
    assert not fits(bad)
    with pytest.raises(InvalidArtifactError):
        encode_ids([bad])
