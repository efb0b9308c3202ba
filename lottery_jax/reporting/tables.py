"""What is kept of a round: tidy tables, some weights, packed masks."""

import jax
import numpy as np
import pandas as pd

from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.tickets import masks

LEADING = ["round", "lane", "sample", "replicate", "density", "kept", "early_stop_step"]


def of_round(info: RoundInfo, columns: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summary and curves of one round as tidy frames; columns as in `results.Results`.

    Args:
      info: the round.
      columns: more columns of the summary: [N] values, or one for all lanes.
    """
    labels = pd.DataFrame(info.labels)
    labels.insert(0, "round", info.round)
    leaves = masks.named_leaves(info.mask)
    names = masks.prunable_names(info.prunable)
    kept = [leaves[name] for name in names]
    by_leaf = {
        name: np.sum(leaves[name], tuple(range(1, leaves[name].ndim))) for name in names
    }
    num_kept = sum(by_leaf.values())
    found = jax.device_get(info.trained.summary)
    losses = [values for name, values in found.items() if name.endswith("loss")]
    summary = labels.assign(
        density=num_kept / sum(leaf[0].size for leaf in kept),
        kept=num_kept,
        empty_layers=sum(by_leaf[n] == 0 for n in names if n.endswith("kernel")),
        **found,
        diverged=~np.isfinite(losses).all(axis=0),
        **columns,
    )
    rest = [name for name in summary if name not in LEADING]
    history = jax.device_get(info.trained.history)
    # Steps before a rewind step stand in the grid as repetitions of it.
    _, first = np.unique(history["step"][0], return_index=True)
    curves = labels.loc[labels.index.repeat(len(first))].reset_index(drop=True)
    names = ["step", "train_loss", "validation_loss"]
    names += [name for name in history if name not in names]
    curves = curves.assign(**{name: history[name][:, first].ravel() for name in names})
    training = [name for name in names if name.startswith("train_")]
    curves.loc[curves.step == info.start, training] = np.nan
    return summary[LEADING + rest], curves


def some_weights(info: RoundInfo, num: int = 2000) -> pd.DataFrame:
    """At most `num` weights of every layer, drawn at random; see `results.Results`."""
    numbers = np.random.default_rng(info.round)
    parts = []
    if info.trained_before is not None:
        trees = (*info.trained_before, info.mask, info.old_mask)
        leaves = [masks.named_leaves(tree) for tree in trees]
        for name in masks.prunable_names(info.prunable):
            start, final, kept, old = (np.ravel(tree[name][0]) for tree in leaves)
            places = np.flatnonzero(old)
            if len(places) > num:
                places = np.sort(numbers.choice(places, num, replace=False))
            columns = {"start": start, "final": final, "kept": kept}
            part = pd.DataFrame({key: x[places] for key, x in columns.items()})
            parts.append(part.assign(layer=name))
    names = {"round": int, "layer": str, "start": "f4", "final": "f4", "kept": bool}
    table = pd.concat(parts) if parts else pd.DataFrame(columns=list(names)[1:])
    return table.assign(round=info.round)[list(names)].astype(names)


def search(info: RoundInfo) -> pd.DataFrame:
    """How the tickets of the round were searched for; see `results.Results`."""
    rows = pd.DataFrame(info.search)
    rows.insert(0, "round", np.full(len(rows), info.round))
    return rows


def packed_masks(info: RoundInfo) -> dict[str, np.ndarray]:
    """Of the tickets, eight weights to a byte; see `results.load_masks`."""
    tickets = info.num_tickets
    packed = {}
    leaves = masks.named_leaves(info.mask)
    for name in masks.prunable_names(info.prunable):
        mask = np.asarray(leaves[name][:tickets])
        packed[name] = np.packbits(mask.reshape(tickets, -1), axis=1)
        packed[f"{name}.shape"] = np.array(mask.shape[1:])
    return packed
