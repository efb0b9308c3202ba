"""A paper's statements as data, judged with the replicates of a run.

A claim compares one quantity of one lane in one round with another, and says what the
paper found and how far from it still counts. It is reproduced where the whole interval
of the estimate lies in that range, not reproduced where all of it lies outside, and
underpowered otherwise: more replicates are needed, or longer training where an
early-stop step is the last step of all ("censored": nobody knows when it would stop).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from lottery_jax.analysis import statistics
from lottery_jax.errors import ConfigError, nearest

FIELDS = {
    "id": None,  # how the claim is called
    "statement": None,  # in a few words
    "quantity": None,  # column of the summary
    "lane": "ticket",
    "round": None,
    "versus_lane": "ticket",
    "versus_round": 0,
    "versus_quantity": "",  # the same
    "measure": "difference",  # in MEASURES
    "relation": "about",  # in RELATIONS
    "expected": None,  # the paper's value, in the measure's unit
    "tolerance": 0.0,  # by which it may be missed, in the same unit
}
"""Fields of a claim with their defaults; None: must be given."""

RELATIONS = ("about", "at_least", "at_most")

MEASURES = {
    "difference": statistics.difference,
    "points": lambda a, b, axis=-1: 100 * statistics.difference(a, b, axis),
    "ratio": lambda a, b, axis=-1: statistics.ratio_of_means(b, a, axis),
    "percent_earlier": lambda a, b, axis=-1: (
        100 * (1 - statistics.ratio_of_means(a, b, axis))
    ),
    "percent": lambda a, b, axis=-1: 100 * np.mean(a, axis),
}
"""Name -> statistic of (the lane's values, those it is compared with): the difference;
in percentage points; how many times as large the other's is; how many percent smaller
the lane's is; the lane's alone in percent."""

BY_REPLICATE = {
    "ratio": lambda a, b, axis=-1: statistics.mean_of_ratios(b, a, axis),
    "percent_earlier": lambda a, b, axis=-1: (
        100 * (1 - statistics.mean_of_ratios(a, b, axis))
    ),
}
"""The same for every replicate, then averaged, where that is another number."""

QUANTITIES = (
    ("early_stop_step",)
    + tuple(
        f"{when}{what}"
        for when in ("early_stop_test_", "test_", "validation_", "train_")
        for what in ("accuracy", "loss")
    )
    + (
        *(
            "most_likely_test_accuracy",
            "most_likely_test_loss",
            "live_weights",
            "flops",
        ),
        *("kept_movement", "dropped_movement", "kept_outward", "dropped_outward"),
        *("instability", "distance", "angle", "level_barrier"),
        *("reported_step", "reported_test_accuracy", "reported_test_loss"),
        *("success", "steps_to_success", "recall", "precision", "jaccard"),
        *("untrained_test_accuracy", "untrained_rescaled_test_accuracy"),
    )
)
"""Columns of the summary that a claim may be about."""


def complete(claim: Mapping) -> dict:
    """The claim with its defaults.

    Raises:
      ConfigError: a field that there is not, or a missing one.
    """
    name = f"claims.{claim.get('id', '?')}"
    for field in claim:
        if field not in FIELDS:
            raise ConfigError(
                f"{name}.{field}", f"no such field; {nearest(field, FIELDS)}"
            )
    missing = [f for f, value in FIELDS.items() if value is None and f not in claim]
    if missing:
        raise ConfigError(name, f"lacks {', '.join(missing)}")
    return {**FIELDS, **claim}


def sides(claim: Mapping) -> tuple[str, ...]:
    """What the names of the fields of each side begin with: "percent" has one alone."""
    return ("",) if claim["measure"] == "percent" else ("", "versus_")


def validate(
    claims: Iterable[Mapping], lanes: Callable[[int], Sequence[str]], rounds: int
) -> None:
    """Refuses claims about what a run will not have.

    Args:
      claims: of the config.
      lanes: of a round, their names.
      rounds: number of the last round.

    Raises:
      ConfigError: the claim, its field, and what it may be.
    """
    names = set()
    for claim in map(complete, claims):
        name = f"claims.{claim['id']}"
        if claim["id"] in names:
            raise ConfigError(name, "is there twice")
        names.add(claim["id"])
        for side in sides(claim):
            field = f"{side}round"
            if claim[field] not in range(rounds + 1):
                problem = f"{claim[field]}: the run has rounds 0 to {rounds}; "
                problem += "--config.claims='()' judges none"
                raise ConfigError(f"{name}.{field}", problem)
            own, there = field.replace("round", "lane"), lanes(claim[field])
            if claim[own] not in there:
                problem = f"no {claim[own]!r} in round {claim[field]}"
                hint = nearest(claim[own], there)
                raise ConfigError(f"{name}.{own}", f"{problem}; {hint}")
        choices = {"quantity": QUANTITIES, "versus_quantity": ("", *QUANTITIES)}
        _check(claim, choices)


def _check(claim: Mapping, choices: Mapping[str, Iterable]):
    """Refuses what stands in no choice, and numbers that are none."""
    name = f"claims.{claim['id']}"
    for field, valid in {
        **choices,
        "measure": MEASURES,
        "relation": RELATIONS,
    }.items():
        if claim[field] not in valid:
            problem = f"no {claim[field]!r}; {nearest(claim[field], valid)}"
            raise ConfigError(f"{name}.{field}", problem)
    for field in ("expected", "tolerance"):
        if not isinstance(claim[field], int | float) or not np.isfinite(claim[field]):
            raise ConfigError(f"{name}.{field}", f"{claim[field]!r}: not a number")
    about = claim["relation"] == "about"
    if claim["tolerance"] < 0 or about and claim["tolerance"] == 0:
        least = "more than 0" if about else "at least 0"
        problem = f"{claim['tolerance']}: expected {least}"
        raise ConfigError(f"{name}.tolerance", problem)


def together(summaries: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Several runs as one summary to `judge`: their lanes are named "run/lane".

    Replicates are paired by number: with the same seeds they share their initial
    weights and the split of the data. For claims about steps the runs must be equally
    long.

    Args:
      summaries: name of a run -> its summary.

    Raises:
      ValueError: runs with unlike numbers of replicates.
    """
    numbers = {name: rows.replicate.nunique() for name, rows in summaries.items()}
    if len(set(numbers.values())) > 1:
        raise ValueError(f"replicates cannot be paired: {numbers}")
    named = [
        rows.assign(lane=f"{name}/" + rows.lane) for name, rows in summaries.items()
    ]
    return pd.concat(named, ignore_index=True)


def judge(
    summary: pd.DataFrame, claims: Iterable[Mapping], last_step: int
) -> pd.DataFrame:
    """One row per claim: estimate, interval, verdict.

    Args:
      summary: of `load_results`.
      claims: dicts with the `FIELDS`.
      last_step: at which training ended.

    Returns:
      Columns id, statement, density (mean of the lane in its round), expected (with
      the relation and the tolerance), estimate, low, high (95 %, paired bootstrap over
      replicates), by_replicate (the mean of ratios where the estimate is a ratio of
      means), detectable (the least effect that so many replicates would find four times
      in five), replicates, censored (how many of them), verdict.

    Raises:
      ConfigError: a claim about a lane or a round that there is not, or that was not
        measured there; no such measure or relation.
    """
    return pd.DataFrame(
        [_judge_one(summary, complete(claim), last_step) for claim in claims]
    )


def _judge_one(summary, claim, last_step):
    _check(claim, {})
    found = [
        _values(
            summary,
            claim["id"],
            claim[f"{side}quantity"] or claim["quantity"],
            claim[f"{side}lane"],
            claim[f"{side}round"],
        )
        for side in sides(claim)
    ]
    (ours, density), (other, _) = found[0], found[-1]
    ours, other = (x.to_numpy(np.float64) for x in ours.align(other))
    censored = 0
    if claim["quantity"] in ("early_stop_step", "reported_step"):
        censored = int(np.sum((ours >= last_step) | (other >= last_step)))
    measure = MEASURES[claim["measure"]]
    by_replicate = BY_REPLICATE.get(claim["measure"], measure)
    low, high, error = statistics.paired_bootstrap(ours, other, measure)
    bounds = {
        "about": (-claim["tolerance"], claim["tolerance"]),
        "at_least": (-claim["tolerance"], np.inf),
        "at_most": (-np.inf, claim["tolerance"]),
    }
    least, most = (claim["expected"] + by for by in bounds[claim["relation"]])
    # Replicates that agree by chance tell nothing of their spread.
    if censored or np.isclose(low, high, rtol=1e-9, atol=1e-12):
        verdict = "underpowered"
    elif least <= low and high <= most:
        verdict = "reproduced"
    elif high < least or low > most:
        verdict = "not reproduced"
    else:
        verdict = "underpowered"
    tolerance = f" +- {claim['tolerance']:g}" if claim["tolerance"] else ""
    relation = claim["relation"].replace("_", " ")
    return {
        "id": claim["id"],
        "statement": claim["statement"],
        "density": density,
        "expected": f"{relation} {claim['expected']:g}{tolerance}",
        "estimate": float(measure(ours, other)),
        "low": low,
        "high": high,
        "by_replicate": float(by_replicate(ours, other)),
        "detectable": statistics.minimum_detectable_effect(error, len(ours)),
        "replicates": len(ours),
        "censored": censored,
        "verdict": verdict,
    }


def _values(summary, id, quantity, lane, number):
    """A number per replicate, draws of a control averaged; and the density.

    A lane that has diverged makes its replicate NaN: its accuracy means nothing.
    """
    rows = summary[(summary.lane == lane) & (summary["round"] == number)]
    if rows.empty:
        problem = f"there is no lane {lane!r} in round {number}"
        raise ConfigError(f"claims.{id}", problem)
    if quantity not in rows or rows[quantity].isna().all() and not rows.diverged.all():
        problem = f"{quantity} was not measured of {lane!r} in round {number}"
        raise ConfigError(f"claims.{id}", problem)
    values = rows[quantity].astype(float).mask(rows.diverged)
    values = values.groupby(rows.replicate).agg(lambda draws: draws.mean(skipna=False))
    return values, rows.density.mean()


def to_markdown(verdicts: pd.DataFrame) -> str:
    """The table for people, three digits of every estimate."""
    head = ("claim", "percent of weights", "paper", "estimate", "95 % interval",
            "by replicate", "detectable", "replicates", "verdict")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in verdicts.itertuples():
        cells = (
            f"{row.id}: {row.statement}",
            f"{100 * row.density:.1f}",
            row.expected,
            f"{row.estimate:.3g}",
            f"{row.low:.3g} to {row.high:.3g}",
            f"{row.by_replicate:.3g}",
            f"{row.detectable:.2g}",
            f"{row.replicates}" + (f" ({row.censored} censored)" * (row.censored > 0)),
            f"**{row.verdict}**",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
