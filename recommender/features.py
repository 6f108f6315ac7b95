"""What is known about items beyond who had them: words and categories as unnormalised binary columns."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse as sp

MIN_ITEMS = 5
MAX_TOKENS = 12
WORD = re.compile(r"[^\W\d_]{3,}")


def tokens_of(text: str, categories: Iterable[str]) -> tuple[str, ...]:
    """Return what describes an item: categories, then the words of its name, `MAX_TOKENS` at most.

    Examples
    --------
    >>> tokens_of("Red Tea Cup 30cm", ["kitchen"])
    ('c:kitchen', 'w:red', 'w:tea', 'w:cup')
    """
    named = [f"c:{category}" for category in categories]
    words = [f"w:{word}" for word in WORD.findall(text.casefold())]
    return tuple(dict.fromkeys(named + words))[:MAX_TOKENS]


def feature_matrix(tokens: Sequence[Sequence[str]]) -> sp.csr_matrix:
    """Turn tokens into a binary matrix; a token of fewer than `MIN_ITEMS` items is dropped.

    Not normalised on purpose: with row-normalised features a new item is placed by its words far worse.

    Parameters
    ----------
    tokens : sequence of length n_items
        The tokens of each item.

    Returns
    -------
    scipy.sparse.csr_matrix, shape (n_items, n_features)
        float32 ones; columns in alphabetical order of the token.

    References
    ----------
    .. [1] Kula (2015), "Metadata Embeddings for User and Item Cold-start Recommendations", CBRecSys.

    Examples
    --------
    >>> feature_matrix([["w:tea"]] * 5 + [["w:rare"]]).toarray().ravel().tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """
    counts = Counter(token for row in tokens for token in set(row))
    column = {token: i for i, token in enumerate(sorted(t for t, n in counts.items() if n >= MIN_ITEMS))}
    cells = [
        (row, column[token]) for row, found in enumerate(tokens) for token in set(found) if token in column
    ]
    where = np.array(sorted(cells), dtype=np.int64).reshape(-1, 2)
    ones = np.ones(len(cells), dtype=np.float32)
    return sp.csr_matrix(
        (ones, (where[:, 0], where[:, 1])), shape=(len(tokens), len(column)), dtype=np.float32
    )
