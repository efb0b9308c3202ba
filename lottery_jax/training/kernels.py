"""Products with a sparse matrix as XLA custom calls on the CPU, compiled by Numba.

XLA has no sparse product on CPUs, and what can be put together from gathers moves every
activation through memory once per kept weight. These loops run over the kept weights
alone; activations stand transposed, [units, B], so that the innermost loop is over the
batch. A kernel [I, J] is stored by columns: `values` [C] and their input units `rows`
[C], those of output unit j from `starts[j]` to `starts[j + 1]`; what stands behind the
last is padding.

Numba's functions speak XLA's C interface (xla/ffi/api/c_api.h) by its offsets, which
the interface keeps stable.
"""

import ctypes

import jax
import jax.numpy as jnp
import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

# Sums may be reordered; NaN and infinity stay what they are.
FAST = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
UNROLL = 4  # weights at once: halves the traffic of sums


@numba.njit(**FAST)
def _forward(values, rows, starts, x, out):
    """out [J, B] = W^T x for x [I, B]."""
    units, batch = out.shape
    for j in range(units):
        first, end = starts[j], starts[j + 1]
        whole = first + (end - first) // UNROLL * UNROLL
        for b in range(batch):
            out[j, b] = np.float32(0)
        for t in range(first, whole, UNROLL):
            v0, v1, v2, v3 = values[t], values[t + 1], values[t + 2], values[t + 3]
            i0, i1, i2, i3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
            for b in range(batch):
                out[j, b] += (
                    v0 * x[i0, b] + v1 * x[i1, b] + v2 * x[i2, b] + v3 * x[i3, b]
                )
        for t in range(whole, end):
            v, i = values[t], rows[t]
            for b in range(batch):
                out[j, b] += v * x[i, b]


@numba.njit(**FAST)
def _values_gradient(rows, starts, x, grad, out):
    """out [C] = the entries of x grad^T at the kept weights, for grad [J, B]."""
    units, batch = grad.shape
    for j in range(units):
        first, end = starts[j], starts[j + 1]
        whole = first + (end - first) // UNROLL * UNROLL
        for t in range(first, whole, UNROLL):
            i0, i1, i2, i3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
            s0 = s1 = s2 = s3 = np.float32(0)
            for b in range(batch):
                g = grad[j, b]
                s0 += g * x[i0, b]
                s1 += g * x[i1, b]
                s2 += g * x[i2, b]
                s3 += g * x[i3, b]
            out[t], out[t + 1], out[t + 2], out[t + 3] = s0, s1, s2, s3
        for t in range(whole, end):
            i = rows[t]
            s = np.float32(0)
            for b in range(batch):
                s += grad[j, b] * x[i, b]
            out[t] = s
    out[starts[units] :] = np.float32(0)


@numba.njit(**FAST)
def _inputs_gradient(values, rows, starts, grad, out):
    """out [I, B] = W grad for grad [J, B]."""
    units, batch = grad.shape
    out[:] = np.float32(0)
    for j in range(units):
        for t in range(starts[j], starts[j + 1]):
            v, i = values[t], rows[t]
            for b in range(batch):
                out[i, b] += v * grad[j, b]


@intrinsic
def _pointer(typing, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@numba.njit
def _words(address, count):
    """The 64-bit words at an address."""
    return numba.carray(_pointer(address), (count,), np.int64)


@numba.njit
def _asks_for_version(frame):
    """Before anything runs XLA asks for the interface's version: 0, its own minor."""
    api, extension = _words(frame, 3)[2], _words(frame, 2)[1]
    if extension == 0 or _words(extension, 2)[1] & 0xFFFFFFFF != 1:
        return False
    metadata = _words(extension, 4)[3]
    _words(metadata, 4)[3] = _words(api, 5)[4] & -4294967296  # the upper half
    return True


@numba.njit
def _buffer(frame, list_at, number):
    """(address of the data, its dimensions) of an argument or a result."""
    buffer = _words(_words(_words(frame, 15)[list_at], number + 1)[number], 6)
    return buffer[3], _words(buffer[5], buffer[4])


ARGUMENTS, RESULTS = 9, 14  # where a call frame holds the lists, in words


@numba.njit
def _floats(frame, list_at, number):
    address, dims = _buffer(frame, list_at, number)
    return numba.carray(_pointer(address), (dims[0],), np.float32)


@numba.njit
def _ints(frame, list_at, number):
    address, dims = _buffer(frame, list_at, number)
    return numba.carray(_pointer(address), (dims[0],), np.int32)


@numba.njit
def _matrix(frame, list_at, number):
    address, dims = _buffer(frame, list_at, number)
    return numba.carray(_pointer(address), (dims[0], dims[1]), np.float32)


def _handler(function):
    """Compiled to take a call frame and return 0: no error; kept where that can be."""
    signature = types.int64(types.int64)
    try:
        return numba.cfunc(signature, cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        return numba.cfunc(signature)(function)


@_handler
def _call_forward(frame):
    if not _asks_for_version(frame):
        _forward(
            _floats(frame, ARGUMENTS, 0),
            _ints(frame, ARGUMENTS, 1),
            _ints(frame, ARGUMENTS, 2),
            _matrix(frame, ARGUMENTS, 3),
            _matrix(frame, RESULTS, 0),
        )
    return 0


@_handler
def _call_values_gradient(frame):
    if not _asks_for_version(frame):
        _values_gradient(
            _ints(frame, ARGUMENTS, 0),
            _ints(frame, ARGUMENTS, 1),
            _matrix(frame, ARGUMENTS, 2),
            _matrix(frame, ARGUMENTS, 3),
            _floats(frame, RESULTS, 0),
        )
    return 0


@_handler
def _call_inputs_gradient(frame):
    if not _asks_for_version(frame):
        _inputs_gradient(
            _floats(frame, ARGUMENTS, 0),
            _ints(frame, ARGUMENTS, 1),
            _ints(frame, ARGUMENTS, 2),
            _matrix(frame, ARGUMENTS, 3),
            _matrix(frame, RESULTS, 0),
        )
    return 0


def _operation(name, handler, loops):
    """`operation(*arrays, shape) -> float32 array`, a custom call."""
    name = f"lottery_jax_{name}"
    jax.ffi.register_ffi_target(
        name, jax.ffi.pycapsule(ctypes.c_void_p(handler.address)), platform="cpu"
    )

    def operation(*arrays, shape):
        if not {array.dtype.name for array in arrays} <= {"float32", "int32"}:
            raise TypeError(f"{name}: of float32 and int32, not {arrays}")
        result = jax.ShapeDtypeStruct(shape, jnp.float32)
        return jax.ffi.ffi_call(name, result, vmap_method="sequential")(*arrays)

    operation.__doc__ = loops.__doc__
    return operation


forward = _operation("forward", _call_forward, _forward)
values_gradient = _operation("values_gradient", _call_values_gradient, _values_gradient)
inputs_gradient = _operation("inputs_gradient", _call_inputs_gradient, _inputs_gradient)
