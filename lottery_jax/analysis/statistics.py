"""Means, ratios and their intervals over replicates.

Replicates are the independent unit: draws within one are averaged before.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

Statistic = Callable[..., np.ndarray]
"""`statistic(a, b, axis) -> estimate`, of paired values."""


def difference(a, b, axis=-1):
    """Mean of a - b."""
    return np.mean(a - b, axis)


def ratio_of_means(a, b, axis=-1):
    """Mean of a over mean of b: few extreme replicates move it little."""
    return np.mean(a, axis) / np.mean(b, axis)


def mean_of_ratios(a, b, axis=-1):
    """Mean of a / b: every replicate counts the same."""
    return np.mean(a / b, axis)


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Statistic,
    level: float = 0.95,
    resamples: int = 9999,
) -> tuple[float, float, float]:
    """Interval of a statistic of pairs by resampling replicates: (low, high, error).

    The bootstrap's standard error with Student's quantile, both corrected for R: with
    few replicates, percentiles (BCa too) cover far less than they say. For a mean it is
    Student's interval but for the noise of resampling.

    Args:
      a: one number per replicate [R].
      b: the same, of what it is compared with.
      statistic: of pairs.
      level: coverage.
      resamples: how many are drawn, always with the same random numbers.

    Returns:
      Bounds, and the standard error; NaN with fewer than two replicates or with numbers
      that are not finite.
    """
    from scipy import stats  # half a second: not before a claim is judged

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    num = len(a)
    if num < 2 or not np.isfinite([a, b]).all():
        return np.nan, np.nan, np.nan
    found = stats.bootstrap(
        (a, b),
        statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=resamples,
        rng=np.random.default_rng(0),
    )
    error = found.standard_error * np.sqrt(num / (num - 1))
    half = special.stdtrit(num - 1, (1 + level) / 2) * error
    estimate = statistic(a, b)
    return float(estimate - half), float(estimate + half), float(error)


def minimum_detectable_effect(
    error: float, num: int, level: float = 0.95, power: float = 0.8
) -> float:
    """The least true effect that so many replicates would find with this power.

    Args:
      error: standard error of the estimate.
      num: replicates.
      level: coverage of the interval that must exclude no effect.
      power: probability of finding it.
    """
    if num < 2:
        return np.nan
    quantiles = special.stdtrit(num - 1, [(1 + level) / 2, power])
    return float(error * quantiles.sum())


def confidence_interval(
    values: ArrayLike, level: float = 0.95
) -> tuple[float, float, float]:
    """Mean and Student-t interval of independent replicates: (mean, low, high).

    Args:
      values: one number per replicate [R]; one that is not finite (a diverged lane)
        makes all three NaN.
      level: coverage. With one replicate there is no interval: low and high are NaN.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        return np.nan, np.nan, np.nan
    mean = values.mean()
    if len(values) < 2:
        return float(mean), np.nan, np.nan
    # Student's quantile as in scipy.stats, which takes half a second to import.
    quantile = special.stdtrit(len(values) - 1, (1 + level) / 2)
    half = quantile * values.std(ddof=1) / np.sqrt(len(values))
    return float(mean), float(mean - half), float(mean + half)
