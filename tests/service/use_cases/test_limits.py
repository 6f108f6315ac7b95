"""How many evaluations an address may ask for, and whose address it is."""

import ipaddress

import pytest

from service.use_cases.limits import RateLimit, client_address


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_and_so_many_a_second() -> None:
    clock = Hands()
    limit = RateLimit(4, clock=clock)

    assert [limit.wait_s("a") for _ in range(6)] == [0, 0, 0, 0, 1, 1]
    assert limit.wait_s("b") == 0
    clock.now = 0.5
    assert [limit.wait_s("a") for _ in range(3)] == [0, 0, 1]
    clock.now = 100
    assert [limit.wait_s("a") for _ in range(5)] == [0, 0, 0, 0, 1]


def test_refused_requests_do_not_push_the_end_away() -> None:
    clock = Hands()
    limit = RateLimit(1, clock=clock)
    limit.wait_s("a")
    for tenth in range(1, 10):
        clock.now = tenth / 10
        assert limit.wait_s("a") == 1

    clock.now = 1.0
    assert limit.wait_s("a") == 0


def test_zero_limits_nothing() -> None:
    limit = RateLimit(0)

    assert {limit.wait_s("a") for _ in range(1_000)} == {0}


def test_the_memory_is_bounded_and_keeps_who_asked_last() -> None:
    limit = RateLimit(1, most=10, clock=Hands())
    for number in range(1_000):
        limit.wait_s(str(number))

    assert len(limit._buckets) == 10
    assert limit.wait_s("999") == 1


@pytest.mark.parametrize(
    ("peer", "forwarded", "whose"),
    [
        ("203.0.113.9", "6.6.6.6", "203.0.113.9"),
        ("10.0.0.7", "", "10.0.0.7"),
        ("10.0.0.7", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.7", "6.6.6.6, 203.0.113.9, 10.9.9.9", "203.0.113.9"),
        ("10.0.0.7", "10.0.0.1,10.0.0.2", "10.0.0.1"),
        ("10.0.0.7", "nonsense", "nonsense"),
        ("10.0.0.7", "x" * 1_000, "x" * 64),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        ("10.0.0.7", "2001:db8:1:2::99", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
        ("10.0.0.7", "a:b", "a:b"),
        ("10.0.0.7", "203.0.113.9:50001", "203.0.113.9"),
        ("10.0.0.7", "203.0.113.9:50001, 10.0.0.2:80", "203.0.113.9"),
        ("10.0.0.7", "[2001:db8:1:2::99]:50001", "2001:db8:1:2::/64"),
        ("10.0.0.7", "[2001:db8:1:2::99]", "2001:db8:1:2::/64"),
        ("-", "6.6.6.6", "-"),
    ],
)
def test_whose_request_it_is(peer: str, forwarded: str, whose: str) -> None:
    assert client_address(peer, forwarded, [ipaddress.ip_network("10.0.0.0/8")]) == whose


def test_without_trusted_proxies_nobody_says_who_he_is() -> None:
    assert client_address("10.0.0.7", "6.6.6.6", []) == "10.0.0.7"
