"""Planting: a small network hidden in a large random one, so that the ticket is known.

Fischer & Burkholz, Plant 'n' Seek (arXiv:2111.11153). A unit may be planted with any
factor c > 0, since relu(c z) = c relu(z), and the next layer divides by it: the masked
large network is the target, but for one factor per output.

    faithful   the paper's public code: a unit takes the place of the random unit that
               is likest up to a factor, with all signs right. Units of many inputs
               never find one, are planted far too small, and give themselves away.
    matched    a unit takes the place whose weights are nearest to its own, scaled to
               the usual length, and is as long as those were. Within a unit sizes have
               the target's proportions, in some layers more unequal than random ones.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax.errors import ConfigError
from lottery_jax.tickets.targets import Target
from lottery_jax.types import Key, Model, Params, Truth


class Planted(NamedTuple):
    """A large network with a ticket in it.

    Attributes:
      params: all weights; outside the ticket they are as they were.
      truth: what was planted.
    """

    params: Params
    truth: Truth


def plant(
    params: Params,
    target: Target,
    mode: str = "matched",
    *,
    common: bool = False,
    loudness: float = 1.0,
) -> Planted:
    """Plants a target; pure, and to be vmapped over networks.

    Args:
      params: of an `mlp` that is as deep and wide enough.
      target: small network.
      mode: name in `MODES`.
      common: one factor for all outputs, as the classes of an argmax need (matched).
      loudness: length of what is planted in lengths of what stood there (matched).
    """
    place = jnp.arange(len(target[0].kernel))
    factor = jnp.ones(len(place))
    planted, mask = {}, {}
    for name, layer in zip(layer_names(len(target)), target, strict=True):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        rows, factors, last = place, factor, name == "output"
        wanted = jnp.concatenate([layer.bias[None], layer.kernel / factors[:, None]])
        there = np.concatenate([np.ones((1, len(layer.bias)), bool), layer.kernel != 0])
        found = jnp.concatenate([bias[None], kernel[rows]])
        place, factor = MODES[mode](wanted, there, found, last, common, loudness)
        at = rows[:, None], place[None]
        planted[name] = {
            "kernel": kernel.at[at].set(
                jnp.where(there[1:], factor[None] * wanted[1:], kernel[at])
            ),
            "bias": bias.at[place].set(factor * wanted[0]),
        }
        mask[name] = {
            "kernel": jnp.zeros(kernel.shape, bool).at[at].set(there[1:]),
            "bias": jnp.zeros(bias.shape, bool).at[place].set(layer.bias != 0),
        }
        if last:  # outputs have their order
            planted[name], mask[name] = jax.tree.map(
                lambda leaf, order=place: leaf[..., order], (planted[name], mask[name])
            )
    return Planted(planted, Truth(mask, factor))


def faithful(wanted, there, found, last, common, loudness):
    """Places and factors of the paper's public code, with its order of choices.

    Unit 0 counts as taken from the start, until nothing else is left. A unit without a
    place of its own kind is scaled by one of its weights.

    Args:
      wanted: bias and incoming weights of the units of the target [1 + I, units].
      there: which of them belong to it: all biases, and weights that are not zero.
      found: bias and the same rows of the large network [1 + I, W].
      last, common, loudness: not asked for.

    Returns:
      (places [units], factors [units]).
    """
    del last, common, loudness

    def one(taken, unit):
        want, own, number = unit
        rows = jnp.where(own[:, None], found, 0)
        factors = want @ rows / (want @ want)
        error = jnp.abs(rows - factors[None] * want[:, None]).sum(0)
        alike = (jnp.sign(rows) == jnp.sign(want)[:, None]) | (want == 0)[:, None]
        error = jnp.where(alike.all(0) & (factors > 0), error, jnp.inf)
        best = jnp.argmin(error)
        none = ~(error[best] < 1000)
        place = jnp.where(none, number, best)
        unlucky = none | taken[place]
        place = jnp.where(taken[place], jnp.argmin(taken), place)
        first = 1 + jnp.argmax(own[1:])
        by_one_weight = jnp.abs(found[first, place] / want[first])
        factor = jnp.where(unlucky, by_one_weight, factors[best])
        return taken.at[place].set(True), (place, factor)

    taken = jnp.zeros(found.shape[1], bool).at[0].set(True)
    units = wanted.T, jnp.array(there.T), jnp.arange(wanted.shape[1])
    return jax.lax.scan(one, taken, units)[1]


def matched(wanted, there, found, last, common, loudness):
    """The nearest free places, and lengths as they were there.

    Arguments and result as of `faithful`.
    """
    # Biases follow: beside weights they are too small in some layers to be compared.
    wanted, there, found = wanted[1:], there[1:], found[1:]
    lengths = jnp.linalg.norm(wanted, axis=0)
    if last:
        place = jnp.arange(wanted.shape[1])
        replaced = jnp.linalg.norm(jnp.where(there, found, 0), axis=0)
        if common:
            lengths, replaced = (
                jnp.full(len(place), jnp.linalg.norm(x)) for x in (lengths, replaced)
            )
        return place, loudness * _ratio(replaced, lengths)

    def one(taken, unit):
        want, own, length = unit
        rows = jnp.where(own[:, None], found, 0)
        replaced = jnp.linalg.norm(rows, axis=0)
        # Of the usual length: what a short unit is divided by makes others give way.
        usual = jnp.sqrt(jnp.mean(jnp.square(replaced)))
        wished = _ratio(usual, length) * want
        distance = jnp.linalg.norm(rows - wished[:, None], axis=0)
        place = jnp.argmin(jnp.where(taken, jnp.inf, distance))
        factor = loudness * _ratio(replaced[place], length)
        return taken.at[place].set(True), (place, factor)

    taken = jnp.zeros(found.shape[1], bool)
    return jax.lax.scan(one, taken, (wanted.T, jnp.array(there.T), lengths))[1]


def _ratio(replaced, length):
    """1 for a unit of the target that nothing comes into."""
    return jnp.where(length > 0, replaced / jnp.where(length > 0, length, 1), 1)


MODES: dict[str, Callable] = {"faithful": faithful, "matched": matched}
"""Name -> `match(wanted, there, found, last, common, loudness) -> places, factors`."""


def planted_model(model: Model, target: Target, **options) -> Model:
    """`model` with the target planted wherever it is initialised, and its truth.

    Biases are drawn from N(0, product over layers so far of 2 / fan-in), as in the
    paper: kernels should be `kaiming_normal`, whose network scales alike.

    Args:
      model: an `mlp`.
      target: small network of the same depth.
      **options: of `plant`.

    Raises:
      ConfigError: a network that is too narrow, or not as deep.
    """
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0))
    _check_fits(shapes, target)

    def both(key):
        params, state = model.init(key)
        own = jax.random.fold_in(key, zlib.crc32(b"biases"))
        return plant(_draw_biases(own, params), target, **options), state

    def init(key):
        planted, state = both(key)
        return planted.params, state

    return model._replace(init=init, truth=lambda key: both(key)[0].truth)


def layer_names(num: int) -> list[str]:
    """Of an `mlp` with so many layers, in its order."""
    return [*(f"dense_{i}" for i in range(num - 1)), "output"]


def _draw_biases(key: Key, params: Params) -> Params:
    scale, drawn = 1.0, {}
    for i, name in enumerate(layer_names(len(params))):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        scale *= np.sqrt(2 / len(kernel))
        noise = jax.random.normal(jax.random.fold_in(key, i), bias.shape, bias.dtype)
        drawn[name] = {"kernel": kernel, "bias": scale * noise}
    return drawn


def _check_fits(shapes: Params, target: Target):
    names = layer_names(len(target))
    if set(shapes) != set(names):
        problem = f"{len(target) - 1} hidden layers are planted, into {sorted(shapes)}"
        raise ConfigError(
            "model.hidden", f"{problem}: an mlp that is as deep is needed"
        )
    ends = len(target[0].kernel), len(target[-1].bias)
    found = len(shapes[names[0]]["kernel"]), len(shapes["output"]["bias"])
    if ends != found:
        problem = f"a network from {ends[0]} to {ends[1]} units does not fit the data"
        raise ConfigError("planting.target", f"{problem}, {found[0]} to {found[1]}")
    for name, layer in zip(names, target, strict=True):
        width, units = len(shapes[name]["bias"]), len(layer.bias)
        if width < units:
            problem = f"{name} has {width} units, the target needs {units}"
            raise ConfigError("model.hidden", problem)
