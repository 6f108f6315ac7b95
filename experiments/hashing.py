"""The hash that decides who gets what, for ever: GrowthBook's version 2 (docs/decisions/0001-hash.md)."""

from fnv_hash_fast import fnv1a_32

N_BUCKETS = 10_000
_OFFSET, _PRIME, _MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


def bucket(salt: str, unit_id: str) -> int:
    """Return the bucket of a unit: always the same for the same salt and id, and even over all ids.

    Buckets under different salts are independent. Text is hashed by UTF-16 code units, as JavaScript sees it,
    so that every GrowthBook SDK computes the same bucket.

    Parameters
    ----------
    salt : str
        For an experiment ``<key>#<phase>``.
    unit_id : str
        What is randomized; not empty.

    Returns
    -------
    int
        In [0, 10000).

    References
    ----------
    .. [1] GrowthBook SDK specification 0.8.0, hash version 2.
    .. [2] Fowler, Noll, Vo, "FNV hash", IETF draft-eastlake-fnv.

    Examples
    --------
    >>> bucket("seed", "a")
    505
    """
    text = salt + unit_id
    first: int = fnv1a_32(text.encode()) if text.isascii() else _fnv1a_32_utf16(text)
    return int(fnv1a_32(b"%d" % first)) % N_BUCKETS


def _fnv1a_32_utf16(text: str) -> int:
    """Hash 16-bit units: FNV-1a as JavaScript's charCodeAt feeds it, half a surrogate pair included."""
    raw = text.encode("utf-16-le", "surrogatepass")
    value = _OFFSET
    for low, high in zip(raw[::2], raw[1::2], strict=True):
        value = ((value ^ (low | high << 8)) * _PRIME) & _MASK
    return value
