"""The words of the house as types: pytrees, lanes, tasks, and what training returns.

Shape letters: `N` lanes, `R` replicates, `B` batch, `T` recorded steps, `D` weights.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Key = jax.Array
"""A typed random key (`jax.random.key`)."""

Params = Any
"""Pytree of float arrays."""

Mask = Any
"""Pytree of bool arrays in the structure of the params, True = kept."""

Prunable = Any
"""Static pytree of Python bools: which leaves may be pruned."""

Scores = Any
"""Pytree of float arrays in the structure of the params, higher = keep."""

Metrics = dict[str, Callable[[jax.Array, jax.Array], jax.Array]]
"""Name -> `metric(outputs [B, ...], y [B]) -> scalar`, a mean over the batch."""


class Split(NamedTuple):
    """Examples of one split.

    Attributes:
      x: inputs, float32 [B, ...].
      y: labels int32 [B], or targets float32 [B, ...] for regression.
    """

    x: jax.Array
    y: jax.Array


class Dataset(NamedTuple):
    """Three disjoint splits; `num_classes` is None for regression."""

    train: Split
    validation: Split
    test: Split
    num_classes: int | None
    name: str


class Truth(NamedTuple):
    """A ticket that was planted.

    Attributes:
      mask: True = part of it; biases too.
      scale: [outputs], factors by which the masked network exceeds what was planted.
    """

    mask: Mask
    scale: jax.Array


class Model(NamedTuple):
    """A network as pure functions.

    Attributes:
      init: `init(key) -> (params, state)`; state: batch statistics, or {}.
      apply: `apply(params, state, x [B, ...], *, train) -> (outputs [B, ...], state)`.
      prunable: `prunable(params) -> pytree of bools`.
      dense: paths of the kernels of dense layers, for which `apply` also takes
        `products`: path -> `product(x [B, I], kernel) -> [B, J]`, in place of the
        matrix product.
      uses: (path of a kernel, times that an example uses each of its weights); what is
        not named is used once.
      truth: `truth(key) -> Truth` of the weights `init(key)`, where one is planted.
    """

    init: Callable
    apply: Callable
    prunable: Callable
    dense: tuple[str, ...] = ()
    uses: tuple[tuple[str, int], ...] = ()
    truth: Callable | None = None


class Origin(NamedTuple):
    """Where weights come from that are as they were drawn.

    Attributes:
      model: name in `MODELS`, and its options.
      input_shape: of one example.
      num_outputs: of the network.
      key: integers of the random key that the model's `init` was called with.
      config_hash: of the run's config.
    """

    model: dict[str, Any]
    input_shape: tuple[int, ...]
    num_outputs: int
    key: tuple[int, ...]
    config_hash: str


class Ticket(NamedTuple):
    """A sparse network to start from.

    Attributes:
      params: weights, zero where they are pruned.
      mask: True = kept.
      origin: of weights that can be drawn again; None: they cannot.
    """

    params: Params
    mask: Mask
    origin: Origin | None = None


class Task(NamedTuple):
    """What is learned: the data, the network, the loss, the metrics beside it."""

    dataset: Dataset
    model: Model
    loss: Callable
    metrics: Metrics


class Lane(NamedTuple):
    """One network to train; when stacked, every leaf has a leading axis [N, ...].

    Attributes:
      params: starting weights; pruned entries are zeroed when training starts, unless
        it is told to keep them as they are.
      mask: bool arrays in the structure of `params`, True = kept.
      key: seeds the order of the data.
      hypers: what may differ between lanes: `learning_rate`, and `schedule_offset`,
        the steps by which the learning-rate schedule runs ahead, both scalars; an
        algorithm may add its own.
    """

    params: Params
    mask: Mask
    key: Key
    hypers: dict[str, jax.Array]


class Trained(NamedTuple):
    """What training a lane returns.

    Attributes:
      final: params after the last step.
      best: params at the early-stop step (lowest validation loss).
      snapshots: name -> params at that named step.
      history: column -> [T] values, one per evaluation.
      summary: column -> scalar: losses and metrics at the early-stop step and the end.
    """

    final: Params
    best: Params
    snapshots: dict[str, Params]
    history: dict[str, jax.Array]
    summary: dict[str, jax.Array]


class Context(NamedTuple):
    """All that a score, a rewind or a control may look at, for one replicate.

    Attributes:
      key: random key of its own for each score, rewind and control.
      model: the network.
      prunable: which leaves may be pruned.
      init: theta_0, the weights at initialisation.
      rewind_point: theta_k, the weights at the rewind step k.
      start: w_i, what the training started from that ended at `final`.
      final: w_f or theta_T, the weights at the end of that training.
      old_mask: the mask that was trained there.
      mask: the mask of this round (for a score: the same as `old_mask`).
      jitter: noise of the reinitialisation "jitter", in standard deviations.
      lane: the ticket's lane of this round (controls only).
      batch: examples that scores may look at, and
      loss: of outputs and labels, both where the score is in `SALIENCIES`.
    """

    key: Key
    model: Model
    prunable: Prunable
    init: Params
    rewind_point: Params
    start: Params
    final: Params
    old_mask: Mask
    mask: Mask
    jitter: float
    lane: Lane | None = None
    batch: Split | None = None
    loss: Callable | None = None
