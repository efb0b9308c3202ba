"""Means and intervals over replicates."""

import numpy as np
from scipy import stats


def confidence_interval(values, level: float = 0.95) -> tuple[float, float, float]:
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
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return float(mean), float(mean - half), float(mean + half)
