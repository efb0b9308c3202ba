"""Products with a sparse matrix: loops over the kept weights alone.

XLA has no sparse product on CPUs, and what can be put together from gathers moves every
activation through memory once per kept weight. A kernel [I, J] is stored by columns:
`values` [C] and their input units `rows` [C], those of output unit j from `starts[j]`
to `starts[j + 1]`; what stands behind the last is padding. Activations stand packed,
[blocks, units, BLOCK]: of every unit BLOCK examples side by side, which are a vector;
those behind the last example are 0.
"""

import jax
import numba

from lottery_jax.training import native
from lottery_jax.training.native import ARGUMENTS, BLOCK, RESULTS

UNITS = 32
"""Units that are transposed at once: they stay in the first cache."""


@numba.njit
def _pack(x, out):
    for n in range(len(out)):
        examples = x[n * BLOCK : (n + 1) * BLOCK]
        size = len(examples)
        for i in range(x.shape[1]):
            for b in range(size):
                out[n, i, b] = examples[b, i]
            for b in range(size, BLOCK):
                out[n, i, b] = 0


@numba.njit
def _unpack(x, out):
    for n in range(len(x)):
        examples = out[n * BLOCK : (n + 1) * BLOCK]
        for first in range(0, x.shape[1], UNITS):
            units = x[n, first : first + UNITS]
            for b in range(len(examples)):
                example = examples[b, first : first + UNITS]
                for i in range(len(example)):
                    example[i] = units[i, b]


@numba.njit
def _forward(values, rows, starts, x, out):
    for n in range(len(x)):
        inputs, outputs = x[n], out[n]
        for j in range(len(starts) - 1):
            total = native.zeros()
            for t in range(starts[j], starts[j + 1]):
                total = native.add_scaled(
                    total, values[t], native.load(inputs, rows[t])
                )
            native.store(outputs, j, total)


@numba.njit
def _values_gradient(rows, starts, x, grad, out):
    out[:] = 0
    for n in range(len(x)):
        inputs, grads = x[n], grad[n]
        for j in range(len(starts) - 1):
            g = native.load(grads, j)
            for t in range(starts[j], starts[j + 1]):
                out[t] += native.dot(native.load(inputs, rows[t]), g)


@numba.njit
def _inputs_gradient(values, rows, starts, grad, out):
    out[:] = 0
    for n in range(len(grad)):
        grads, outputs = grad[n], out[n]
        for j in range(len(starts) - 1):
            g = native.load(grads, j)
            for t in range(starts[j], starts[j + 1]):
                i = rows[t]
                total = native.add_scaled(native.load(outputs, i), values[t], g)
                native.store(outputs, i, total)


def _handle_pack(frame):
    if not native.asks_for_version(frame):
        _pack(native.matrix(frame, ARGUMENTS, 0), native.blocks(frame, RESULTS, 0))
    return 0


def _handle_unpack(frame):
    if not native.asks_for_version(frame):
        _unpack(native.blocks(frame, ARGUMENTS, 0), native.matrix(frame, RESULTS, 0))
    return 0


def _handle_forward(frame):
    if not native.asks_for_version(frame):
        _forward(
            native.floats(frame, ARGUMENTS, 0),
            native.naturals(frame, ARGUMENTS, 1),
            native.naturals(frame, ARGUMENTS, 2),
            native.blocks(frame, ARGUMENTS, 3),
            native.blocks(frame, RESULTS, 0),
        )
    return 0


def _handle_values_gradient(frame):
    if not native.asks_for_version(frame):
        _values_gradient(
            native.naturals(frame, ARGUMENTS, 0),
            native.naturals(frame, ARGUMENTS, 1),
            native.blocks(frame, ARGUMENTS, 2),
            native.blocks(frame, ARGUMENTS, 3),
            native.floats(frame, RESULTS, 0),
        )
    return 0


def _handle_inputs_gradient(frame):
    if not native.asks_for_version(frame):
        _inputs_gradient(
            native.floats(frame, ARGUMENTS, 0),
            native.naturals(frame, ARGUMENTS, 1),
            native.naturals(frame, ARGUMENTS, 2),
            native.blocks(frame, ARGUMENTS, 3),
            native.blocks(frame, RESULTS, 0),
        )
    return 0


_pack_operation = native.operation(_handle_pack)
_unpack_operation = native.operation(_handle_unpack)
_forward_operation = native.operation(_handle_forward)
_values_gradient_operation = native.operation(_handle_values_gradient)
_inputs_gradient_operation = native.operation(_handle_inputs_gradient)


def pack(x: jax.Array) -> jax.Array:
    """x [B, units] by blocks of examples: [blocks, units, BLOCK]."""
    num, units = x.shape
    return _pack_operation(x, shape=(-(-num // BLOCK), units, BLOCK))


def unpack(packed: jax.Array, num: int) -> jax.Array:
    """The first `num` examples of packed ones: [num, units]."""
    return _unpack_operation(packed, shape=(num, packed.shape[1]))


def forward(
    values: jax.Array, rows: jax.Array, starts: jax.Array, x: jax.Array
) -> jax.Array:
    """x W for packed x of I units: packed, of J units."""
    shape = (len(x), len(starts) - 1, BLOCK)
    return _forward_operation(values, rows, starts, x, shape=shape)


def values_gradient(
    rows: jax.Array, starts: jax.Array, x: jax.Array, grad: jax.Array
) -> jax.Array:
    """[C]: the entries of x^T grad at the kept weights, for packed x and grad."""
    return _values_gradient_operation(rows, starts, x, grad, shape=rows.shape)


def inputs_gradient(
    values: jax.Array, rows: jax.Array, starts: jax.Array, grad: jax.Array, units: int
) -> jax.Array:
    """grad W^T for packed grad of J units: packed, of `units` = I units."""
    shape = (len(grad), units, BLOCK)
    return _inputs_gradient_operation(values, rows, starts, grad, shape=shape)
