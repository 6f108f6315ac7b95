import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import InvalidParameterError
from experiments.inference.bernoulli import log_mixture
from experiments.inference.interval import FloatArray
from experiments.inference.multiplicity import e_bh, shared_level, shared_levels

evidence = st.lists(st.floats(-50, 50) | st.just(float("nan")), min_size=1, max_size=12).map(np.array)
alphas = st.floats(1e-4, 0.5)


def plainly(log_e: FloatArray, alpha: float) -> int:
    """Return the number rejected, straight from the definition."""
    e = sorted(np.exp(log_e[~np.isnan(log_e)]), reverse=True)
    return max((k for k in range(1, len(e) + 1) if e[k - 1] >= len(log_e) / (alpha * k)), default=0)


@given(log_e=evidence, alpha=alphas)
def test_as_many_are_rejected_as_the_definition_says(log_e: FloatArray, alpha: float) -> None:
    assert e_bh(log_e, alpha=alpha) == plainly(log_e, alpha)


@given(log_e=evidence, alpha=alphas)
def test_exactly_the_rejected_have_an_interval_that_excludes_zero(log_e: FloatArray, alpha: float) -> None:
    level = shared_level(log_e, alpha=alpha)

    assert np.sum(log_e >= -np.log(level)) == e_bh(log_e, alpha=alpha)
    assert alpha / len(log_e) <= level <= alpha


@given(families=st.lists(evidence, min_size=1, max_size=5), data=st.data())
def test_families_do_not_touch_each_other(families: list[FloatArray], data: st.DataObject) -> None:
    alpha = np.array([data.draw(alphas) for _ in families])
    family = np.repeat(np.arange(len(families)), [len(f) for f in families])
    shuffled = np.array(data.draw(st.permutations(range(len(family)))))

    found = shared_levels(np.concatenate(families)[shuffled], family[shuffled], alpha=alpha[family[shuffled]])

    apart = np.array([shared_level(f, alpha=a) for f, a in zip(families, alpha, strict=True)])
    np.testing.assert_array_equal(found, apart[family[shuffled]])


def test_nothing_asked_is_nothing_rejected() -> None:
    assert e_bh(np.array([]), alpha=0.05) == 0
    with pytest.raises(InvalidParameterError):
        shared_level(np.array([]), alpha=0.05)


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_an_error_rate_outside_its_domain_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidParameterError):
        e_bh(np.array([1.0]), alpha=alpha)


@pytest.mark.statistical
@pytest.mark.parametrize(("n_real", "shared"), [(0, 0.0), (0, 0.8), (4, 0.5)])
def test_few_answers_are_wrong_whenever_one_stops_and_however_metrics_depend(
    n_real: int, shared: float
) -> None:
    """Stop at the first look with a false discovery: the worst that an analyst can do."""
    rng = np.random.default_rng(5)
    n_runs, n_looks, n_asked, step, alpha = 1_500, 30, 12, 20, 0.1
    real = np.arange(n_asked) < n_real
    chance = np.where(real, 0.62, 0.5)
    total = np.zeros((n_runs, n_asked))
    share_wrong = np.zeros(n_runs)
    open_runs = np.ones(n_runs, dtype=bool)
    for look in range(1, n_looks + 1):
        # A share of all metrics' observations is thrown with one common coin.
        own, common = rng.random((n_runs, step, n_asked)), rng.random((n_runs, step, 1))
        thrown = np.where(rng.random((n_runs, step, n_asked)) < shared, common, own)
        total += np.where(thrown < chance, 1, -1).sum(axis=1)
        log_e = log_mixture(total, float(look * step), g=1.0, h=1.0, v_opt=200.0, alpha_opt=0.05)
        runs = np.repeat(np.arange(n_runs), n_asked)
        levels = shared_levels(log_e.ravel(), runs, alpha=alpha).reshape(log_e.shape)
        rejected = log_e >= -np.log(levels)
        wrong = (rejected & ~real).sum(axis=1) / np.maximum(rejected.sum(axis=1), 1)
        share_wrong = np.where(open_runs, wrong, share_wrong)
        open_runs &= wrong == 0

    # A rate that could not be told from 0 would show nothing.
    assert 0 < share_wrong.mean() <= alpha + 3 * share_wrong.std() / np.sqrt(n_runs)
