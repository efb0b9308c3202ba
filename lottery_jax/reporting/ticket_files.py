"""A ticket in one file: safetensors, with what is needed to trust it.

The mask has a bit per weight. Weights as they were drawn are not stored but drawn again
(`types.Origin`), to float rounding; others are, where they are kept. So LeNet-300-100's
ticket is 34 kB, mostly bits, and 4 bytes more for every weight that a training has
changed. The metadata names shapes, density (of leaves of two axes or more) and a
checksum. Nothing is ever unpickled.
"""

import hashlib
import json
import os
from importlib import metadata
from pathlib import Path

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lottery_jax.errors import TicketError
from lottery_jax.models import MODELS
from lottery_jax.reporting import files
from lottery_jax.tickets import masks
from lottery_jax.types import Origin, Params, Ticket

FORMAT = "lottery_jax ticket 1"


def save_ticket(path: str | os.PathLike, ticket: Ticket) -> Path:
    """Writes a ticket of one network; returns the path.

    Raises:
      TicketError: params and mask of different trees or shapes.
      OSError: what cannot be written; an older file stays as it is.
    """
    path = Path(path)
    params, mask = _leaves(ticket)
    origin = ticket.origin
    if origin and not _is_drawn(origin, params, mask):
        origin = None  # its weights have changed since
    tensors = {f"mask/{name}": np.packbits(kept) for name, kept in mask.items()}
    if origin is None:
        tensors |= {f"kept/{name}": leaf[mask[name]] for name, leaf in params.items()}
    matrices = [leaf for leaf in mask.values() if leaf.ndim > 1] or [*mask.values()]
    kept = sum(int(leaf.sum()) for leaf in matrices)
    about = {
        "format": FORMAT,
        "shapes": {name: [*leaf.shape] for name, leaf in params.items()},
        "dtypes": {name: str(leaf.dtype) for name, leaf in params.items()},
        "kept": kept,
        "density": kept / sum(leaf.size for leaf in matrices),
        "checksum": _checksum(tensors),
        "some": {name: _some(leaf[mask[name]]) for name, leaf in params.items()},
        "origin": origin and origin._asdict(),
        "jax": metadata.version("jax"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {name: json.dumps(value) for name, value in about.items()}
    files.write(path, save(tensors, text))
    return path


def load_ticket(path: str | os.PathLike, like: Params | None = None) -> Ticket:
    """Reads a ticket.

    Args:
      path: of the file.
      like: params of the network that it is for, or their shapes; gives the tree its
        structure. None: nested dicts, by the parts of the paths.

    Raises:
      TicketError: no such file, no ticket, a damaged one, one of another network (the
        leaves that differ are listed), weights that are drawn differently here.
    """
    path = Path(path)
    about, tensors = _read(path)
    shapes = {name: tuple(shape) for name, shape in about["shapes"].items()}
    if like is not None:
        _check_like(path, shapes, like)
    if _checksum(tensors) != about["checksum"]:
        raise TicketError(f"{path} is damaged: its checksum is another one")
    try:
        mask = {
            name: np.unpackbits(tensors[f"mask/{name}"], count=int(np.prod(shape)))
            .astype(bool)
            .reshape(shape)
            for name, shape in shapes.items()
        }
        origin = about["origin"] and _origin(**about["origin"])
        if origin:
            drawn = masks.named_leaves(_draw(origin))
            params = {name: np.where(mask[name], drawn[name], 0) for name in shapes}
        else:
            params = {}
            for name, shape in shapes.items():
                params[name] = np.zeros(shape, about["dtypes"][name])
                params[name][mask[name]] = tensors[f"kept/{name}"]
    except (KeyError, TypeError, ValueError) as error:
        raise TicketError(f"{path} is damaged: {error}") from error
    for name, wanted in about["some"].items():
        found = _some(params[name][mask[name]])
        if not np.allclose(found, wanted, rtol=1e-4, atol=1e-6, equal_nan=True):
            problem = f"under jax {about['jax']} its key drew {name} {wanted[:3]}..., "
            now = f"under {metadata.version('jax')} {found[:3]}..."
            raise TicketError(f"{path} cannot be drawn again: {problem}{now}")
    return Ticket(_tree(params, like), _tree(mask, like), origin)


def _leaves(ticket: Ticket) -> tuple[dict, dict]:
    """Params, zero where they are pruned, and mask by path, on the host."""
    params, mask = (masks.named_leaves(tree) for tree in ticket[:2])
    one, other = ({k: np.shape(x) for k, x in tree.items()} for tree in (params, mask))
    if one != other:
        raise TicketError(f"params and mask differ: {_unlike(one, other)}")
    mask = {name: np.asarray(leaf, bool) for name, leaf in mask.items()}
    return {
        name: np.where(mask[name], leaf, np.zeros((), leaf.dtype))
        for name, leaf in jax.device_get(params).items()
    }, mask


def _is_drawn(origin: Origin, params: dict, mask: dict) -> bool:
    """Whether the kept weights are those of the key, to float rounding."""
    drawn = masks.named_leaves(_draw(origin))
    return drawn.keys() == params.keys() and all(
        drawn[name].shape == leaf.shape
        and np.allclose(drawn[name][mask[name]], leaf[mask[name]], 1e-4, 1e-6)
        for name, leaf in params.items()
    )


def _origin(model, input_shape, num_outputs, key, config_hash) -> Origin:
    """As it was before it was JSON."""
    return Origin(model, tuple(input_shape), num_outputs, tuple(key), config_hash)


def _draw(origin: Origin) -> Params:
    options = dict(origin.model)
    model = MODELS[options.pop("name")](
        tuple(origin.input_shape), origin.num_outputs, **options
    )
    key = jax.random.wrap_key_data(np.array(origin.key, np.uint32))
    return jax.device_get(model.init(key)[0])


def _checksum(tensors: dict) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _some(weights: np.ndarray) -> list[float]:
    """The first, to know them again."""
    return weights.ravel()[:8].astype(np.float64).tolist()


def _read(path: Path) -> tuple[dict, dict]:
    if not path.is_file():
        raise TicketError(f"no ticket file {path}")
    try:
        with safe_open(path, "numpy") as file:
            text = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = {name: json.loads(value) for name, value in text.items()}
    except (SafetensorError, ValueError) as error:
        raise TicketError(f"{path} is damaged, or no safetensors: {error}") from error
    if about.get("format") != FORMAT:
        raise TicketError(f"{path} is no ticket of this version ({FORMAT!r})")
    needed = ("shapes", "dtypes", "checksum", "some", "origin", "jax")
    if missing := [name for name in needed if name not in about]:
        raise TicketError(f"{path} is damaged: it does not say {', '.join(missing)}")
    return about, tensors


def _check_like(path: Path, shapes: dict, like: Params):
    wanted = {name: np.shape(leaf) for name, leaf in masks.named_leaves(like).items()}
    if shapes != wanted:
        problem = "is a ticket of another network; leaves here and there"
        raise TicketError(f"{path} {problem}: {_unlike(wanted, shapes)}")


def _unlike(one: dict, other: dict) -> str:
    """Every leaf in which two networks differ, with its shapes."""
    return "; ".join(
        f"{name} {one.get(name, 'none')} and {other.get(name, 'none')}"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    )


def _tree(leaves: dict, like: Params | None):
    """By path, in the structure of `like`, or as nested dicts."""
    if like is not None:
        return masks.map_named(lambda name, _: leaves[name], like)
    tree = {}
    for name, leaf in leaves.items():
        *parents, last = name.split("/")
        own = tree
        for parent in parents:
            own = own.setdefault(parent, {})
        own[last] = leaf
    return tree
