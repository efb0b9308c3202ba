"""Products with a sparse matrix: loops over the kept weights alone, in Numba.

XLA has no sparse product on CPUs, and what can be put together from gathers moves every
activation through memory once per kept weight. A kernel [I, J] is stored by columns:
`values` [C] and their input units `rows` [C], those of output unit j from `starts[j]`
to `starts[j + 1]`; what stands behind the last is padding. Activations stand packed,
[blocks, units, BLOCK]: of every unit BLOCK examples side by side, which are a vector;
those behind the last example are 0.

The functions speak version 0.3 of XLA's C interface (xla/ffi/api/c_api.h) by its
offsets. All of it stands in one file, because Numba keeps compiled code until the file
has changed.
"""

import ctypes

import jax
import jax.numpy as jnp
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

BLOCK = 64
"""Examples of a vector: few enough for a sum to stay in registers."""

_VECTOR = ir.VectorType(ir.FloatType(), BLOCK)


class _Vector(types.Type):
    """BLOCK float32."""

    def __init__(self):
        super().__init__("Vector")


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _VECTOR)


def _address(context, builder, signature, arguments):
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    offset = builder.mul(arguments[1], ir.Constant(ir.IntType(64), BLOCK))
    return builder.bitcast(builder.gep(array.data, [offset]), _VECTOR.as_pointer())


@intrinsic
def _load(typing, block, row):
    """block[row] of an array [rows, BLOCK]."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        return builder.load(address, align=4)

    return _Vector()(block, types.intp), generate


@intrinsic
def _store(typing, block, row, vector):
    """block[row] = vector."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        builder.store(arguments[2], address, align=4)
        return context.get_dummy_value()

    return types.none(block, types.intp, vector), generate


@intrinsic
def _zeros(typing):
    """The vector of zeros."""

    def generate(context, builder, signature, arguments):
        return ir.Constant(_VECTOR, None)

    return _Vector()(), generate


@intrinsic
def _add_scaled(typing, total, scale, vector):
    """total + scale * vector."""

    def generate(context, builder, signature, arguments):
        total, scale, vector = arguments
        integer = ir.IntType(32)
        one = builder.insert_element(
            ir.Constant(_VECTOR, ir.Undefined), scale, ir.Constant(integer, 0)
        )
        everywhere = ir.Constant(ir.VectorType(integer, BLOCK), None)
        scales = builder.shuffle_vector(one, one, everywhere)
        scaled = builder.fmul(scales, vector, flags=("contract",))
        return builder.fadd(total, scaled, flags=("contract",))

    return total(total, types.float32, vector), generate


@intrinsic
def _dot(typing, a, b):
    """The sum of a * b, taken in any order."""

    def generate(context, builder, signature, arguments):
        product = builder.fmul(*arguments, flags=("contract",))
        number = ir.FloatType()
        total = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(number, [number, _VECTOR]),
            f"llvm.vector.reduce.fadd.v{BLOCK}f32",
        )
        start = ir.Constant(number, -0.0)
        return builder.call(total, [start, product], fastmath=("reassoc", "contract"))

    return types.float32(a, b), generate


@intrinsic
def _pointer(typing, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@numba.njit
def _words(address, count):
    """The 64-bit words at an address."""
    return numba.carray(_pointer(address), (count,), np.int64)


MINOR_VERSION = 3
"""Of the interface that these offsets are of; XLA refuses what it no longer speaks."""


@numba.njit
def _asks_for_version(frame):
    """Before anything runs XLA asks for which version of its interface this is."""
    api, extension = _words(frame, 3)[2], _words(frame, 2)[1]
    if extension == 0 or _words(extension, 2)[1] & 0xFFFFFFFF != 1:
        return False
    metadata = _words(extension, 4)[3]
    minor = min(MINOR_VERSION, _words(api, 5)[4] >> 32)
    _words(metadata, 4)[3] = minor << 32  # the lower half is the major version, 0
    return True


ARGUMENTS, RESULTS = 9, 14  # where a call frame holds the lists, in words


@numba.njit
def _buffer(frame, list_at, number):
    """(data, dimensions) of an argument or a result."""
    buffer = _words(_words(_words(frame, 15)[list_at], number + 1)[number], 6)
    return _pointer(buffer[3]), _words(buffer[5], buffer[4])


@numba.njit
def _floats(frame, list_at, number):
    """float32 [n]."""
    data, dims = _buffer(frame, list_at, number)
    return numba.carray(data, (dims[0],), np.float32)


@numba.njit
def _naturals(frame, list_at, number):
    """int32 [n], none below 0: unsigned, an index takes no check of its sign."""
    data, dims = _buffer(frame, list_at, number)
    return numba.carray(data, (dims[0],), np.uint32)


@numba.njit
def _matrix(frame, list_at, number):
    """float32 [n, m]."""
    data, dims = _buffer(frame, list_at, number)
    return numba.carray(data, (dims[0], dims[1]), np.float32)


@numba.njit
def _blocks(frame, list_at, number):
    """float32 [n, m, BLOCK]."""
    data, dims = _buffer(frame, list_at, number)
    return numba.carray(data, (dims[0], dims[1], BLOCK), np.float32)


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
            total = _zeros()
            for t in range(starts[j], starts[j + 1]):
                total = _add_scaled(total, values[t], _load(inputs, rows[t]))
            _store(outputs, j, total)


@numba.njit
def _values_gradient(rows, starts, x, grad, out):
    out[:] = 0
    for n in range(len(x)):
        inputs, grads = x[n], grad[n]
        for j in range(len(starts) - 1):
            g = _load(grads, j)
            for t in range(starts[j], starts[j + 1]):
                out[t] += _dot(_load(inputs, rows[t]), g)


@numba.njit
def _inputs_gradient(values, rows, starts, grad, out):
    out[:] = 0
    for n in range(len(grad)):
        grads, outputs = grad[n], out[n]
        for j in range(len(starts) - 1):
            g = _load(grads, j)
            for t in range(starts[j], starts[j + 1]):
                i = rows[t]
                total = _add_scaled(_load(outputs, i), values[t], g)
                _store(outputs, i, total)


def _handle_pack(frame):
    if not _asks_for_version(frame):
        _pack(_matrix(frame, ARGUMENTS, 0), _blocks(frame, RESULTS, 0))
    return 0


def _handle_unpack(frame):
    if not _asks_for_version(frame):
        _unpack(_blocks(frame, ARGUMENTS, 0), _matrix(frame, RESULTS, 0))
    return 0


def _handle_forward(frame):
    if not _asks_for_version(frame):
        _forward(
            _floats(frame, ARGUMENTS, 0),
            _naturals(frame, ARGUMENTS, 1),
            _naturals(frame, ARGUMENTS, 2),
            _blocks(frame, ARGUMENTS, 3),
            _blocks(frame, RESULTS, 0),
        )
    return 0


def _handle_values_gradient(frame):
    if not _asks_for_version(frame):
        _values_gradient(
            _naturals(frame, ARGUMENTS, 0),
            _naturals(frame, ARGUMENTS, 1),
            _blocks(frame, ARGUMENTS, 2),
            _blocks(frame, ARGUMENTS, 3),
            _floats(frame, RESULTS, 0),
        )
    return 0


def _handle_inputs_gradient(frame):
    if not _asks_for_version(frame):
        _inputs_gradient(
            _floats(frame, ARGUMENTS, 0),
            _naturals(frame, ARGUMENTS, 1),
            _naturals(frame, ARGUMENTS, 2),
            _blocks(frame, ARGUMENTS, 3),
            _blocks(frame, RESULTS, 0),
        )
    return 0


def _operation(handler, kinds):
    """`operation(*arrays, shape) -> float32 array`, a custom call.

    Args:
      handler: a function of a call frame that returns 0: no error.
      kinds: (dtype, number of axes) of every argument.
    """
    signature = types.int64(types.int64)
    try:
        compiled = numba.cfunc(signature, cache=True)(handler)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        compiled = numba.cfunc(signature)(handler)  # there is no folder to keep it in
    _COMPILED.append(compiled)
    name = f"lottery_jax_{handler.__name__}"
    capsule = jax.ffi.pycapsule(ctypes.c_void_p(compiled.address))
    jax.ffi.register_ffi_target(name, capsule, platform="cpu")

    def call(*arrays, shape):
        found = [(array.dtype.name, array.ndim) for array in arrays]
        if found != kinds:
            raise TypeError(f"{name}: expected {kinds}, got {found}")
        result = jax.ShapeDtypeStruct(shape, jnp.float32)
        return jax.ffi.ffi_call(name, result, vmap_method="sequential")(*arrays)

    return call


_COMPILED = []
"""XLA never forgets an address, so code must live as long as the process."""


VALUES, INDICES = ("float32", 1), ("int32", 1)
PLAIN, PACKED = ("float32", 2), ("float32", 3)

_pack_operation = _operation(_handle_pack, [PLAIN])
_unpack_operation = _operation(_handle_unpack, [PACKED])
_forward_operation = _operation(_handle_forward, [VALUES, INDICES, INDICES, PACKED])
_values_gradient_operation = _operation(
    _handle_values_gradient, [INDICES, INDICES, PACKED, PACKED]
)
_inputs_gradient_operation = _operation(
    _handle_inputs_gradient, [VALUES, INDICES, INDICES, PACKED]
)


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
