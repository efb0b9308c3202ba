"""Tickets in the formats of others: NumPy, SciPy, PyTorch, compiled functions.

Paths of leaves become names: "dense_0/kernel" is `dense_0.weight` for PyTorch, whose
dense kernels are [out, in] and whose convolutions are [out, in, height, width]. Where a
dense layer follows convolutions, PyTorch's own flattening puts channels first and this
package's last: permute there before flattening.
"""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from lottery_jax.errors import TicketError
from lottery_jax.tickets import masks
from lottery_jax.types import Params, Ticket

PATTERNS = {2: (1, 0), 4: (3, 2, 0, 1)}
"""Axes of a kernel -> where PyTorch has them."""


def to_dense(path: str | os.PathLike, ticket: Ticket):
    """All weights, zero where they are pruned, in one .npz: path of a leaf -> array.

    Args:
      path: of the file.
      ticket: of one network.
    """
    params = jax.device_get(masks.apply(*ticket[:2]))
    np.savez(path, **masks.named_leaves(params))


def to_csr(folder: str | os.PathLike, ticket: Ticket):
    """A file per kernel for `scipy.sparse.load_npz`, and `rest.npz` with the biases.

    Kernels are [in, out], of convolutions [height * width * in, out], and stand under
    their paths, dots in place of slashes. Weights that are kept at zero are stored.

    Args:
      folder: made where it does not exist.
      ticket: of one network.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mask, rest = masks.named_leaves(jax.device_get(ticket.mask)), {}
    for name, leaf in masks.named_leaves(jax.device_get(ticket.params)).items():
        if leaf.ndim < 2:
            rest[name] = np.where(mask[name], leaf, 0)
            continue
        shape = (-1, leaf.shape[-1])
        flat, kept = leaf.reshape(shape), mask[name].reshape(shape)
        rows, columns = np.nonzero(kept)
        matrix = scipy.sparse.csr_array((flat[kept], (rows, columns)), flat.shape)
        scipy.sparse.save_npz(folder / f"{name.replace('/', '.')}.npz", matrix)
    np.savez(folder / "rest.npz", **rest)


def to_torch(path: str | os.PathLike, ticket: Ticket):
    """A state dict as `torch.nn.utils.prune` names it, as safetensors.

    What is pruned becomes `NAME_orig` and `NAME_mask`, the rest `NAME`. Kernels of two
    and of four axes become `weight`, and have their axes moved; other leaves keep name
    and axes.
    """
    tensors = {}
    mask = masks.named_leaves(jax.device_get(ticket.mask))
    for place, leaf in masks.named_leaves(jax.device_get(ticket.params)).items():
        layer, _, name = place.rpartition("/")
        kept = mask[place]
        if name == "kernel" and leaf.ndim in PATTERNS:
            order, name = PATTERNS[leaf.ndim], "weight"
            leaf, kept = leaf.transpose(order), kept.transpose(order)
        name = f"{layer.replace('/', '.')}.{name}" if layer else name
        if kept.all():
            tensors[name] = np.ascontiguousarray(leaf)
        else:
            tensors[f"{name}_orig"] = np.ascontiguousarray(leaf)
            tensors[f"{name}_mask"] = np.ascontiguousarray(kept).astype(leaf.dtype)
    Path(path).write_bytes(save(tensors))


def from_torch(path: str | os.PathLike) -> Ticket:
    """The ticket of such a state dict.

    Raises:
      TicketError: no safetensors (files of pickles are not read: load them in PyTorch
        and write `safetensors.torch.save_file(state_dict, path)`), a mask without
        weights or of another shape, or with other values than 0 and 1.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        advice = "write it with safetensors.torch.save_file(state_dict, path)"
        raise TicketError(f"{path} is no safetensors: {error}; {advice}") from error
    params, mask = {}, {}
    for name, leaf in tensors.items():
        if name.endswith("_mask"):
            weights = f"{name.removesuffix('_mask')}_orig"
            if weights not in tensors:
                raise TicketError(f"{path}: {name} without {weights}")
            continue
        kept = np.ones(leaf.shape, bool)
        if name.endswith("_orig"):
            name = name.removesuffix("_orig")
            kept = _as_mask(path, f"{name}_mask", tensors, leaf.shape)
        layer, _, own = name.rpartition(".")
        if own == "weight" and leaf.ndim in PATTERNS:
            order, own = np.argsort(PATTERNS[leaf.ndim]), "kernel"
            leaf, kept = leaf.transpose(order), kept.transpose(order)
        for tree, value in ((params, np.where(kept, leaf, 0)), (mask, kept)):
            for part in filter(None, layer.split(".")):
                tree = tree.setdefault(part, {})
            tree[own] = value
    return Ticket(params, mask)


def from_npy(folder: str | os.PathLike, weights: str = "initial") -> Ticket:
    """A ticket of Frankle & Carbin's code: `initial`, `final` and `masks`, .npy each.

    Their kernels layer0, layer1, ... become those of dense_0, dense_1, ..., output;
    biases, which they neither prune nor keep, are zero.

    Args:
      folder: of one level of a run.
      weights: "initial" or "final".

    Raises:
      TicketError: files that are missing, damaged, or of other shapes than their masks.
    """
    folder, arrays = Path(folder), {}
    names = sorted(
        (path.stem for path in (folder / weights).glob("layer*.npy")),
        key=lambda name: int(name.removeprefix("layer")),
    )
    if not names:
        raise TicketError(f"{folder / weights} has no layer0.npy")
    for part in (weights, "masks"):
        for name in names:
            path = folder / part / f"{name}.npy"
            try:
                with open(path, "rb") as file:
                    arrays[part, name] = np.load(file, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise TicketError(f"{path} is missing or damaged: {error}") from error
    params, mask = {}, {}
    for i, name in enumerate(names):
        kernel = arrays[weights, name].astype(np.float32)
        found = {name: arrays["masks", name]}
        kept = _as_mask(folder / "masks", name, found, kernel.shape)
        layer = "output" if i == len(names) - 1 else f"dense_{i}"
        bias = np.zeros(kernel.shape[-1], np.float32)
        params[layer] = {"bias": bias, "kernel": np.where(kept, kernel, 0)}
        mask[layer] = {"bias": np.ones(bias.shape, bool), "kernel": kept}
    return Ticket(params, mask)


def _as_mask(path, name: str, tensors: dict, shape: tuple) -> np.ndarray:
    if name not in tensors:
        raise TicketError(f"{path}: {name} is missing")
    values = tensors[name]
    if values.shape != shape:
        problem = f"{name} is {values.shape}, its weights are {shape}"
        raise TicketError(f"{path}: {problem}")
    if not np.isin(values, (0, 1)).all():
        raise TicketError(f"{path}: {name} has other values than 0 and 1")
    return values.astype(bool)


def to_compiled(
    path: str | os.PathLike,
    ticket: Ticket,
    apply: Callable[[Params, jax.Array], jax.Array],
    input_shape: tuple[int, ...],
):
    """The network as a function of its inputs, compiled for all platforms.

    Args:
      path: of the file (`jax.export`), read by `from_compiled`.
      ticket: its weights become constants.
      apply: `apply(params, x [B, *input_shape]) -> outputs`; B is a symbol, which is
        x.shape[0] and not len(x).
      input_shape: of one example; batches may have any size.
    """
    params = masks.apply(*ticket[:2])
    batch = jax.export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct((*batch, *input_shape), jnp.float32)
    function = jax.jit(lambda x: apply(params, x))
    exported = jax.export.export(function, platforms=("cpu", "cuda", "tpu"))(x)
    Path(path).write_bytes(exported.serialize())


def from_compiled(path: str | os.PathLike) -> Callable[[jax.Array], jax.Array]:
    """The function of such a file.

    Raises:
      TicketError: no such file, or a damaged one.
    """
    try:
        return jax.export.deserialize(bytearray(Path(path).read_bytes())).call
    except Exception as error:  # its reader of flat buffers raises what it likes
        raise TicketError(f"{path} is no compiled function: {error}") from error
