"""Named lists of values: who is on one, told by the value itself or by its salted hash."""

from collections.abc import Collection
from functools import lru_cache
from hashlib import sha256

from experiments.targeting.operators import VALUE_OPERATORS, Scalar, ValueTest

_N_PREPARED = 64


def hashed_member(name: str, value: Scalar) -> str:
    """Return what a client may send in place of a value on a list, so that the list can be published.

    Parameters
    ----------
    name : str
        Of the list: its salt.
    value : bool, int, float, str or None
        A member, written as JavaScript writes it.

    Returns
    -------
    str
        64 hex digits.

    References
    ----------
    .. [1] GrowthBook, "Secure attributes": SHA-256 of salt and value.

    Examples
    --------
    >>> hashed_member("vips", "u1")[:16], hashed_member("vips", 7.0) == hashed_member("vips", "7")
    ('1e08313d51184536', True)
    """
    return sha256(f"{name}:{_written(value)}".encode("utf-8", "surrogatepass")).hexdigest()


def list_test(name: str, members: Collection[Scalar]) -> ValueTest:
    """Return the test whether a value, or one of a list of values, is on a list.

    Parameters
    ----------
    name : str
        Of the list.
    members : collection of scalars
        In any order.

    Returns
    -------
    callable
        Any value -> bool; it never raises.

    Examples
    --------
    >>> vip = list_test("vips", ["u1", "u2"])
    >>> vip("u1"), vip(["u0", "u2"]), vip(hashed_member("vips", "u2")), vip("U1")
    (True, True, True, False)
    """
    return _prepared(name, tuple((member.__class__.__name__, member) for member in members))


# Many definitions use the same list, and a list can be long: its hashes are computed once.
@lru_cache(maxsize=_N_PREPARED)
def _prepared(name: str, members: tuple[tuple[str, Scalar], ...]) -> ValueTest:
    plain = tuple(member for _kind, member in members)
    return VALUE_OPERATORS["in"].build((*plain, *(hashed_member(name, member) for member in plain)))


def _written(value: Scalar) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
