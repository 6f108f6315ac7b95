import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import InvalidParameterError
from experiments.histogram import EDGES, N_BINS, bin_of, lower_end, upper_end

values = st.integers(-(10**18), 10**18) | st.integers(0, 20_000) | st.sampled_from(EDGES)


def test_the_edges_never_move() -> None:
    written = " ".join(map(str, EDGES))

    assert len(EDGES) == N_BINS - 1
    assert EDGES[:6] == (0, 10_000, 10_205, 10_414, 10_627, 10_845)
    assert EDGES[500:503] == (249_819_900, 254_941_208, 260_167_503)
    assert EDGES[-2:] == (9_754_493_967_109, 9_954_461_093_435)
    assert (
        hashlib.sha256(written.encode()).hexdigest()
        == "382e7fca3cc1c4f8b3b7f7817933dce420a0a29948c0d7b06407aa06f00a4f97"
    )


def test_bins_are_about_two_percent_wide() -> None:
    widths = [above / below for below, above in pairwise(EDGES[1:])]

    assert min(widths) > 1.0204
    assert max(widths) < 1.0206


@given(value=values)
def test_a_value_lies_within_the_ends_of_its_bin(value: int) -> None:
    number = bin_of(value)

    upper = upper_end(number)
    assert lower_end(number) <= max(value, 0)
    assert upper is None or value <= upper


@given(one=values, other=values)
def test_a_larger_value_never_has_a_lower_bin(one: int, other: int) -> None:
    assert bin_of(min(one, other)) <= bin_of(max(one, other))


@pytest.mark.parametrize("number", [-1, N_BINS])
def test_a_bin_that_does_not_exist_has_no_ends(number: int) -> None:
    with pytest.raises(InvalidParameterError):
        lower_end(number)
    with pytest.raises(InvalidParameterError):
        upper_end(number)
