"""What must hold after every round, checked on the arrays that were really trained.

Nearly every public codebase broke one of these at some time: pruned weights that move,
survivors that are not reset, controls that change nothing, counts that are off by one.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax import stacks
from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.algorithms.methods import MASK_CHECKS
from lottery_jax.analysis import chance
from lottery_jax.errors import CertificateError
from lottery_jax.tickets import masks
from lottery_jax.tickets.controls import OF_THE_MASK
from lottery_jax.tickets.reinitialization import REINITS

BEYOND_BELIEF = 30
"""Bits, one in a billion: to be its ticket against longer odds is a control's fault."""


def certify(info: RoundInfo) -> dict:
    """Checks a round; returns what was found, to be stored with the round.

    Raises:
      CertificateError: what does not hold, where and by how much.
    """
    found = jax.device_get(
        _measure(
            info.lanes,
            info.trained,
            info.rewound,
            info.old_mask,
            info.mask,
            jnp.array(info.ticket_of),
            info.keeps_pruned,
        )
    )
    prunable = masks.prunable_names(info.prunable)
    problems = []

    def check(holds, what, amount):
        """`holds` and `amount` are [N] or [tickets], in the order of labels."""
        for index in np.flatnonzero(~np.asarray(holds)):
            label = info.labels[index]
            problems.append(
                f"{what} in lane {label.lane} {label.sample}, replicate "
                f"{label.replicate}: {np.asarray(amount)[index]}"
            )

    frozen = "where they were frozen" if info.keeps_pruned else "zero"
    # Where pruning is a part of training, nothing brings NaN back to zero.
    lost = found["diverged"] & (info.found_mask is not None)
    check(
        (found["pruned"] == 0) | lost,
        f"pruned weights that are not {frozen}",
        found["pruned"],
    )
    check(found["revived"] == 0, "weights revived by the new mask", found["revived"])
    check(found["moved"] == 0, "survivors off their rewind point", found["moved"])
    tickets = info.num_tickets
    controls = [label.lane.split("/")[-1] for label in info.labels]
    kept = {
        group: sum(found["kept"][name] for name in names)
        for group, names in info.groups.items()
    }
    whole = np.array([name == "dense" for name in controls])
    planted = np.array([name == "planted" for name in controls])
    leaves = masks.named_leaves(info.old_mask)
    for group, num in info.num_keep.items():
        everything = sum(leaves[name][0].size for name in info.groups[group])
        holds = (kept[group] == np.where(whole, everything, num)) | planted
        should = "as many weights as it should" if np.ndim(num) else f"{num} weights"
        check(holds, f"{group} keeps {should}, found", kept[group])
    differs = found["differs"]
    respects = sum(values.astype(int) for values in differs.values())
    idle_controls = _check_controls(info, found, respects, check)
    if problems:
        shown = "\n  ".join(problems[:5])
        raise CertificateError(
            f"round {info.round}: {len(problems)} violations\n  {shown}"
        )
    has_origin = info.rewound is not None
    return {
        "round": info.round,
        "holds": [
            f"pruned weights are exactly {frozen}, at the early-stop step and the end",
            *(["counts match the ladder"] * bool(info.num_keep)),
            *(["the mask is part of the previous mask"] * bool(info.num_keep)),
            *(["survivors start from their rewind point bit for bit"] * has_origin),
            "no control differs from its ticket in more than one respect",
        ],
        "num_keep": {k: np.asarray(num).tolist() for k, num in info.num_keep.items()},
        "kept": {
            name: np.asarray(found["kept"][name])[:tickets].tolist()
            for name in prunable
        },
        "controls_differ_in": {
            "/".join(map(str, label)): [
                name for name in differs if differs[name][index]
            ]
            for index, label in enumerate(info.labels)
            if index >= tickets
        },
        "empty_layers": [
            name
            for name in prunable
            if not name.endswith("bias") and not np.all(found["kept"][name][:tickets])
        ],
        "idle_controls": idle_controls,
        "filled_up": [] if info.filled is None else np.asarray(info.filled).tolist(),
        "diverged": [
            list(info.labels[index]) for index in np.flatnonzero(found["diverged"])
        ],
    }


def _check_controls(info: RoundInfo, found: dict, respects: np.ndarray, check) -> list:
    """That none differs in several respects, or in none where that is beyond belief.

    Args:
      respects: in how many each lane differs from its ticket [N].

    Returns the controls that are their tickets in all lanes, by chance or for want of
    anything that could differ.
    """
    idle_controls = []
    for name in dict.fromkeys(label.lane for label in info.labels[info.num_tickets :]):
        own = np.array([label.lane == name for label in info.labels])
        several = "respects, more than one, in which a control differs from its ticket"
        check(~own | (respects <= 1), several, respects)
        idle = own & (respects == 0)
        if not idle.any():
            continue
        control, all_idle = name.split("/")[-1], (idle == own).all()
        bits = np.where(own, _bits(info, found["kept"], control), 0)
        bits[found["diverged"]] = 0  # NaN is no fault of the control.
        # Any of 2^lanes sets of lanes might have been the idle ones.
        fault = idle & (bits[idle].sum() - own.sum() > BEYOND_BELIEF)
        check(~fault, "a control that does nothing (bits against chance)", bits)
        if all_idle and (info.density < 1 or control not in OF_THE_MASK):
            idle_controls.append(name)
    return idle_controls


def _bits(info: RoundInfo, kept: dict, control: str) -> np.ndarray:
    """Against each lane's being its ticket by chance, were it this control: [N]."""
    if control in MASK_CHECKS:  # That another way finds the same is what it tells.
        return np.zeros(len(info.labels))
    prunable = masks.prunable_names(info.prunable)
    if control in OF_THE_MASK:
        leaves = masks.named_leaves(info.old_mask)
        sizes = [leaves[name][0].size for name in prunable]
        counts = [
            zip(sizes, [kept[name][i] for name in prunable], strict=True)
            for i in range(info.num_tickets)
        ]
        bits = [chance.of_mask(control, own) for own in counts]
    elif control in REINITS:
        trees = stacks.first((info.lanes.params, info.mask), info.num_tickets)
        weights, mask = map(masks.named_leaves, jax.device_get(trees))
        bits = [
            chance.of_weights(control, [weights[x][i][mask[x][i]] for x in prunable])
            for i in range(info.num_tickets)
        ]
    else:
        bits = [math.inf] * info.num_tickets
    return np.array(bits)[info.ticket_of]


@functools.partial(jax.jit, static_argnums=6)
def _measure(
    lanes, trained, rewound, old_mask, masks_found, ticket_of, keeps_pruned
) -> dict:
    """Counts per lane [N], or per ticket, which stand first."""
    tickets = len(jax.tree.leaves(old_mask)[0])

    def count(differing):
        """Sums a tree of bools [N, ...] over everything but the first axis."""
        leaves = jax.tree.leaves(differing)
        return sum(jnp.sum(leaf, axis=range(1, leaf.ndim)) for leaf in leaves)

    def unlike(leaf, other):
        """Entries whose bits differ; so NaN equals NaN."""
        if leaf.dtype == jnp.float32:
            leaf, other = (
                jax.lax.bitcast_convert_type(x, jnp.uint32) for x in (leaf, other)
            )
        return leaf != other

    def unlike_ticket(tree):
        """Whether a lane has entries other than its ticket: [N]."""
        return count(jax.tree.map(lambda leaf: unlike(leaf, leaf[ticket_of]), tree)) > 0

    outside = jax.tree.map(lambda a, b: ~(a & b), lanes.mask, masks_found)
    frozen = jax.tree.map(lambda leaf: leaf if keeps_pruned else 0, lanes.params)
    pruned = sum(
        count(jax.tree.map(lambda out, x, at: out & (x != at), outside, tree, frozen))
        for tree in (trained.final, trained.best)
    )
    mask = stacks.first(lanes.mask, tickets)
    start = stacks.first(lanes.params, tickets)
    moved = jax.tree.map(
        unlike,
        masks.apply(start, mask),
        masks.apply(start if rewound is None else rewound, mask),
    )
    losses = [values for name, values in trained.summary.items() if "loss" in name]
    # Where nobody measured a loss, NaN shows in the weights.
    losses = losses or [count(trained.final)]
    return {
        "pruned": pruned,
        "revived": count(jax.tree.map(lambda new, old: new & ~old, mask, old_mask)),
        "moved": count(moved),
        "kept": {
            name: jnp.sum(leaf, axis=range(1, leaf.ndim))
            for name, leaf in masks.named_leaves(masks_found).items()
        },
        "differs": {
            "params": unlike_ticket(lanes.params),
            "mask": unlike_ticket(lanes.mask),
            "key": unlike_ticket(jax.random.key_data(lanes.key)),
            "hypers": unlike_ticket(lanes.hypers),
        },
        "diverged": ~jnp.all(jnp.isfinite(jnp.stack(losses)), axis=0),
    }
