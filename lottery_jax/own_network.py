"""Tickets of anyone's network: a pytree of weights, and a function that trains it.

    found = lottery_jax.find_ticket(params, train, rounds=5)

is iterative magnitude pruning as `algorithms/imp.py` has it, with its scores, rewinds,
controls and certificates; no config, no run directory, no network library.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lottery_jax import rng, stacks
from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.algorithms.imp import REWIND_POINT, imp
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import LotteryError, nearest
from lottery_jax.tickets import CONTROLS, REWINDS, SCOPES, SCORES, masks
from lottery_jax.tickets.saliency import SALIENCIES
from lottery_jax.types import (
    Dataset,
    Key,
    Lane,
    Mask,
    Model,
    Params,
    Prunable,
    Split,
    Task,
    Ticket,
    Trained,
)

Train = Callable[[Key, Params, Mask], Params]
"""`train(key, params, mask) -> params`: pruned weights come, and stay, as zero."""


class Found(NamedTuple):
    """What a search for tickets has found.

    Attributes:
      tickets: of the last round, one for every replicate.
      final: their weights after training; leaves are [R, ...] where `replicates` was
        given.
      masks: of every round, the dense one first; leaves as those of `final`.
      summary: a row for every round, lane ("ticket" or a control), sample (draw of the
        control) and replicate, with density, weights kept, whether training has
        diverged, and what `evaluate` returned.
      certificates: what was checked, one dict per round.
    """

    tickets: list[Ticket]
    final: Params
    masks: list[Mask]
    summary: pd.DataFrame
    certificates: list[dict]

    @property
    def ticket(self) -> Ticket:
        """Of the first replicate."""
        return self.tickets[0]


def matrices(path: str, leaf: jax.Array) -> bool:
    """Prunable by default: leaves of two axes or more; no biases, no norms."""
    del path
    return leaf.ndim >= 2


def find_ticket(
    init: Params | Callable[[Key], Params],
    train: Train,
    *,
    rounds: int,
    prune_fraction: float = 0.2,
    score: str = "magnitude",
    scope: str = "global",
    rewind: str = "weights",
    warm_up: Train | None = None,
    prunable: Prunable | Callable[[str, jax.Array], bool] = matrices,
    controls: Mapping[str, int] | None = None,
    evaluate: Callable[[Params], Mapping[str, Any] | float] | None = None,
    replicates: int | None = None,
    seed: int = 0,
    vectorize: bool = True,
) -> Found:
    """Trains, prunes and rewinds, round after round (arXiv:1803.03635, sec. 2).

    Args:
      init: theta_0, any pytree of float arrays; or `init(key) -> theta_0`, which
        several replicates and the controls `reinit` need.
      train: as `Train`. `lottery_jax.masked(optimizer, mask)` keeps weights zero.
      rounds: of pruning, after the dense round 0.
      prune_fraction: of the weights left, that a round drops.
      score: name in `SCORES` that needs no data.
      scope: name in `SCOPES`: "global", or "layerwise", every leaf for itself.
      rewind: name in `REWINDS`.
      warm_up: trains theta_0 to theta_k, from where `train` goes on, with a key of its
        own; None: k = 0.
      prunable: pytree of bools, or of a path and a leaf whether it may be pruned.
      controls: name in `CONTROLS` -> how many of the ticket in every round.
      evaluate: of trained weights, a number or a dict of numbers, for the summary.
      replicates: R independent repetitions; None: one, without an axis for it.
      seed: of all random keys.
      vectorize: `train` is compiled, for all lanes in one program (`jit` of `vmap`);
        else it is called as it is, lane by lane.

    Raises:
      LotteryError: a leaf that is no float array, nothing to prune, an unknown name, a
        training that returns something else than it was given (says where), fractions
        or rounds that would empty a layer.
      CertificateError: training moves pruned weights, or a control does nothing.
    """
    for function, name in ((train, "train"), (warm_up or train, "warm_up")):
        if not callable(function):
            problem = f"{type(function).__name__}: expected a function of a key, params"
            raise LotteryError(f"{name}: {problem} and a mask")
    if not isinstance(controls or {}, Mapping):
        problem = 'expected names with numbers, as {"random": 1}'
        raise LotteryError(f"controls: {controls}: {problem}")
    if evaluate is not None and not callable(evaluate):
        problem = f"{type(evaluate).__name__}: expected a function of params"
        raise LotteryError(f"evaluate: {problem}")
    draw = init if _is_function(init) else lambda key: init
    shapes = _shapes(draw)
    controls = dict(controls or {})
    for value, what, valid in (
        (score, "score", SCORES.keys() - SALIENCIES.keys()),
        (scope, "scope", SCOPES),
        (rewind, "rewind", REWINDS),
        *((name, "controls", CONTROLS) for name in controls),
    ):
        if value not in valid:
            raise LotteryError(f"{what}: {value!r}; {nearest(value, valid)}")
    _check_numbers(rounds, prune_fraction, replicates, controls)
    if not _is_function(init):
        drawing = sorted(name for name in controls if name.startswith("reinit"))
        if drawing or (replicates or 1) > 1:
            who = drawing[0] if drawing else f"{replicates} replicates"
            problem = f"{who} need weights drawn anew: expected init(key) -> params"
            raise LotteryError(f"init: {problem}")
    may = _prunable(prunable, shapes)
    run = _lanes(_checked(train, "train", shapes), vectorize)
    warm = _lanes(_checked(warm_up, "warm_up", shapes), vectorize) if warm_up else None

    def make_run(**_):
        def trained(lanes: Lane, grid) -> Trained:
            start = masks.apply(lanes.params, lanes.mask)
            if warm and grid[0] == 0:  # else it goes on from theta_k
                early = jax.vmap(jax.random.fold_in, (0, None))(lanes.key, 1)
                start = warm(early, start, lanes.mask)
            final = run(lanes.key, start, lanes.mask)
            return Trained(final, final, {REWIND_POINT: start}, {}, {})

        return trained

    empty = Split(jnp.zeros((0,)), jnp.zeros((0,)))
    model = Model(lambda key: (draw(key), {}), apply=None, prunable=lambda _: may)
    dataset = Dataset(empty, empty, empty, None, "")
    kinds = map(masks.layer_kind, masks.prunable_names(may))
    algorithm = imp(
        Task(dataset, model, None, {}), make_run, lambda _, start: [start, 2],
        learning_rate=0.0, replicates=replicates or 1, controls=controls,
        rounds=rounds, prune_fraction=prune_fraction, scope=scope, score=score,
        output_prune_fraction=prune_fraction if "output" in kinds else None,
        rewind=rewind, rewind_step=int(warm is not None),
    )  # fmt: skip
    state, rows, found = algorithm.init(rng.roots(seed)), [], []
    for _ in algorithm.ladder:
        state, info = algorithm.step(state)
        _check_finite(info)
        certificate = certify(info)
        found.append((_own(info.mask, replicates), certificate))
        rows += _rows(info, evaluate, certificate)
    mask, params = info.mask, masks.apply(info.lanes.params, info.mask)
    tickets = [Ticket(*stacks.take((params, mask), i)) for i in range(replicates or 1)]
    return Found(
        tickets,
        _own(info.trained.final, replicates),
        [own for own, _ in found],
        pd.DataFrame(rows),
        [certificate for _, certificate in found],
    )


def _check_numbers(rounds, prune_fraction, replicates, controls: Mapping):
    least = {"rounds": (rounds, 1)} | {
        f"controls, {name}": (number, 0) for name, number in controls.items()
    }
    if replicates is not None:
        least["replicates"] = replicates, 1
    for what, (number, low) in least.items():
        if not isinstance(number, int) or number < low:
            problem = f"expected a whole number, at least {low}"
            raise LotteryError(f"{what}: {number!r}: {problem}")
    if not isinstance(prune_fraction, int | float) or not 0 < prune_fraction < 1:
        problem = "expected a number between 0 and 1"
        raise LotteryError(f"prune_fraction: {prune_fraction!r}: {problem}")


def _is_function(value) -> bool:
    """And no pytree of arrays, which may be callable as well (Equinox's modules)."""
    return callable(value) and jax.tree.structure(value).num_nodes == 1


def _shapes(draw) -> Params:
    """Of theta_0, whose leaves must be float arrays."""
    shapes = jax.eval_shape(draw, jax.random.key(0))
    leaves = masks.named_leaves(shapes)
    if not leaves:
        raise LotteryError("init: a pytree without leaves; expected float arrays")
    for path, leaf in leaves.items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            problem = f"{path or 'the only leaf'} is {leaf.dtype}{list(leaf.shape)}"
            rest = "expected floats; keep what is not trained out of the params"
            raise LotteryError(f"init: {problem}; {rest}")
    return shapes


def _prunable(prunable, shapes) -> Prunable:
    if _is_function(prunable):
        may = masks.map_named(lambda path, leaf: bool(prunable(path, leaf)), shapes)
    else:
        may = jax.tree.map(bool, prunable)
        if jax.tree.structure(may) != jax.tree.structure(shapes):
            expected = ", ".join(masks.named_leaves(shapes))
            given = ", ".join(masks.named_leaves(may))
            problem = f"has the leaves {given}; the params have {expected}"
            raise LotteryError(f"prunable: {problem}")
    if not any(jax.tree.leaves(may)):
        leaves = ", ".join(masks.named_leaves(shapes))
        raise LotteryError(f"prunable: none of {leaves} may be pruned")
    return may


def _checked(train: Train, name: str, shapes: Params) -> Train:
    """`train`, which must return what has the structure and shapes of the params."""
    expected = masks.named_leaves(shapes)

    def checked(key, params, mask):
        try:
            after = train(key, params, mask)
        except jax.errors.ConcretizationTypeError as error:
            problem = "depends on values in Python; pass vectorize=False, or use lax"
            raise LotteryError(f"{name} cannot be compiled: it {problem}") from error
        if type(after) is not type(params):
            wanted = f"the params alone, a {type(params).__name__}"
            given = type(after).__name__
            raise LotteryError(f"{name} returned a {given}; expected {wanted}")
        found = masks.named_leaves(after)
        for path in dict.fromkeys([*expected, *found]):
            one, other = expected.get(path), found.get(path)
            if one is None or other is None:
                where = "is new" if one is None else "is missing"
                raise LotteryError(f"{name} returned other params: {path} {where}")
            other = jax.eval_shape(lambda leaf: leaf, other)
            if (one.shape, one.dtype) != (other.shape, other.dtype):
                problem = f"{path} is {other.dtype}{list(other.shape)}"
                rest = f"was {one.dtype}{list(one.shape)}"
                raise LotteryError(f"{name} returned other params: {problem}, {rest}")
        if jax.tree.structure(after) != jax.tree.structure(params):
            problem = f"{jax.tree.structure(after)}, was {jax.tree.structure(params)}"
            raise LotteryError(f"{name} returned another tree: {problem}")
        return after

    return checked


def _lanes(train: Train, vectorize: bool) -> Train:
    """Of stacked lanes [N, ...]."""
    if vectorize:
        return jax.jit(jax.vmap(train))

    def one_by_one(*lanes):
        return stacks.stack(
            [train(*stacks.take(lanes, i)) for i in range(len(lanes[0]))]
        )

    return one_by_one


def _own(tree, replicates: int | None):
    """Of the tickets, which stand first; without an axis where there is just one."""
    if replicates is None:
        return stacks.take(tree, 0)
    return stacks.first(tree, replicates)


def _check_finite(info: RoundInfo):
    """What has become NaN altogether is not called a training that moves weights."""
    broken = jax.tree.map(
        lambda leaf, kept: jnp.isnan(leaf) & ~kept, info.trained.final, info.mask
    )
    for path, leaf in masks.named_leaves(broken).items():
        if leaf.any():
            lane = int(leaf.reshape(len(leaf), -1).any(1).argmax())
            label = info.labels[lane]
            where = f"lane {label.lane}, replicate {label.replicate}"
            problem = f"nan where {path} is pruned, in {where}: it has diverged"
            raise LotteryError(f"round {info.round}: train returned {problem}")


def _rows(info: RoundInfo, evaluate, certificate: dict) -> list[dict]:
    """Of the summary, one for every lane."""
    names = masks.prunable_names(info.prunable)
    leaves = {name: np.asarray(masks.named_leaves(info.mask)[name]) for name in names}
    size = sum(leaf[0].size for leaf in leaves.values())
    rows = []
    for i, label in enumerate(info.labels):
        kept = sum(int(leaf[i].sum()) for leaf in leaves.values())
        row = {"round": info.round, **label._asdict(), "density": kept / size}
        row |= {"kept": kept, "diverged": [*label] in certificate["diverged"]}
        if evaluate:
            final = stacks.take(info.trained.final, i)
            measured = evaluate(final)
            if not isinstance(measured, Mapping):
                measured = {"value": measured}
            row |= {name: _number(name, value) for name, value in measured.items()}
        rows.append(row)
    return rows


def _number(name: str, value) -> float:
    try:
        return float(np.reshape(value, ()))
    except (TypeError, ValueError) as error:
        what = list(np.shape(value)) or type(value).__name__
        raise LotteryError(f"evaluate: {name} is {what}, expected a number") from error
