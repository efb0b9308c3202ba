"""Means and intervals over replicates."""

import numpy as np
from scipy import special


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
    # Student's quantile as in scipy.stats, which takes half a second to import.
    quantile = special.stdtrit(len(values) - 1, (1 + level) / 2)
    half = quantile * values.std(ddof=1) / np.sqrt(len(values))
    return float(mean), float(mean - half), float(mean + half)
