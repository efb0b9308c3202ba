"""How often students succeed with so many samples, and how many half of them need."""

import numpy as np
import pandas as pd


def success_probability(summary: pd.DataFrame) -> pd.DataFrame:
    """One row per lane, kept weights and samples: how many replicates succeeded.

    Args:
      summary: of a run of the algorithm `sample_complexity`; `results.summary`.

    Returns:
      Columns lane, kept, samples, probability, replicates.
    """
    cells = summary.groupby(["lane", "kept", "samples"], sort=False).success
    found = cells.agg(probability="mean", replicates="size").reset_index()
    return found.sort_values(["lane", "kept", "samples"], ignore_index=True)


def thresholds(summary: pd.DataFrame) -> pd.DataFrame:
    """N*: the samples with which half of the students succeed, per lane and mask.

    Args:
      summary: as of `success_probability`.

    Returns:
      Columns lane, kept, threshold (`threshold` of the probabilities).
    """
    found = success_probability(summary)
    rows = [
        (lane, kept, threshold(cells.samples, cells.probability))
        for (lane, kept), cells in found.groupby(["lane", "kept"])
    ]
    return pd.DataFrame(rows, columns=["lane", "kept", "threshold"])


def threshold(samples, probability, level: float = 0.5) -> float:
    """Where the probability first reaches the level, on straight lines between cells.

    Args:
      samples: rising [n].
      probability: of success with so many [n].
      level: between 0 and 1.

    Returns:
      Samples; the fewest measured where they suffice, NaN where none do.
    """
    samples, probability = (np.asarray(x, float) for x in (samples, probability))
    enough = np.flatnonzero(probability >= level)
    if not len(enough):
        return np.nan
    last = enough[0]
    if last == 0:
        return float(samples[0])
    before = slice(last - 1, last + 1)
    return float(np.interp(level, probability[before], samples[before]))
