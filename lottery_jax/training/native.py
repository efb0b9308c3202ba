"""What loops compiled by Numba need to be operations of XLA's on the CPU.

Vectors: BLOCK numbers that stay in registers. A block of a packed array [rows, BLOCK]
is loaded and stored row by row.

Handlers: Numba's functions speak XLA's C interface (xla/ffi/api/c_api.h) by its
offsets, which the interface keeps stable.
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
"""Numbers of a vector: few enough for a sum to stay in registers."""

VECTOR = ir.VectorType(ir.FloatType(), BLOCK)


class Vector(types.Type):
    """BLOCK float32."""

    def __init__(self):
        super().__init__("Vector")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VECTOR)


def _address(context, builder, signature, arguments):
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    offset = builder.mul(arguments[1], ir.Constant(ir.IntType(64), BLOCK))
    return builder.bitcast(builder.gep(array.data, [offset]), VECTOR.as_pointer())


@intrinsic
def load(typing, block, row):
    """block[row] of an array [rows, BLOCK]."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        return builder.load(address, align=4)

    return Vector()(block, types.intp), generate


@intrinsic
def store(typing, block, row, vector):
    """block[row] = vector."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        builder.store(arguments[2], address, align=4)
        return context.get_dummy_value()

    return types.none(block, types.intp, vector), generate


@intrinsic
def zeros(typing):
    """The vector of zeros."""

    def generate(context, builder, signature, arguments):
        return ir.Constant(VECTOR, None)

    return Vector()(), generate


@intrinsic
def add_scaled(typing, total, scale, vector):
    """total + scale * vector."""

    def generate(context, builder, signature, arguments):
        total, scale, vector = arguments
        integer = ir.IntType(32)
        one = builder.insert_element(
            ir.Constant(VECTOR, ir.Undefined), scale, ir.Constant(integer, 0)
        )
        everywhere = ir.Constant(ir.VectorType(integer, BLOCK), None)
        scales = builder.shuffle_vector(one, one, everywhere)
        scaled = builder.fmul(scales, vector, flags=("contract",))
        return builder.fadd(total, scaled, flags=("contract",))

    return total(total, types.float32, vector), generate


@intrinsic
def dot(typing, a, b):
    """The sum of a * b, taken in any order."""

    def generate(context, builder, signature, arguments):
        product = builder.fmul(*arguments, flags=("contract",))
        number = ir.FloatType()
        total = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(number, [number, VECTOR]),
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


@numba.njit
def asks_for_version(frame):
    """Before anything runs XLA asks for the interface's version: 0, its own minor."""
    api, extension = _words(frame, 3)[2], _words(frame, 2)[1]
    if extension == 0 or _words(extension, 2)[1] & 0xFFFFFFFF != 1:
        return False
    metadata = _words(extension, 4)[3]
    _words(metadata, 4)[3] = _words(api, 5)[4] & -4294967296  # the upper half
    return True


ARGUMENTS, RESULTS = 9, 14  # where a call frame holds the lists, in words


@numba.njit
def _buffer(frame, list_at, number):
    """(data, dimensions) of an argument or a result."""
    buffer = _words(_words(_words(frame, 15)[list_at], number + 1)[number], 6)
    return _pointer(buffer[3]), _words(buffer[5], buffer[4])


@numba.njit
def floats(frame, list_at, number):
    """float32 [n]."""
    data, dims = _buffer(frame, list_at, number)
    return numba.carray(data, (dims[0],), np.float32)


@numba.njit
def naturals(frame, list_at, number):
    """int32 [n], none below 0: unsigned, an index takes no check of its sign."""
    data, dims = _buffer(frame, list_at, number)
    return numba.carray(data, (dims[0],), np.uint32)


@numba.njit
def matrix(frame, list_at, number):
    """float32 [n, m]."""
    data, dims = _buffer(frame, list_at, number)
    return numba.carray(data, (dims[0], dims[1]), np.float32)


@numba.njit
def blocks(frame, list_at, number):
    """float32 [n, m, BLOCK]."""
    data, dims = _buffer(frame, list_at, number)
    return numba.carray(data, (dims[0], dims[1], BLOCK), np.float32)


def operation(handler):
    """`operation(*arrays, shape) -> float32 array`, a custom call.

    Args:
      handler: a function of a call frame that returns 0: no error.
    """
    signature = types.int64(types.int64)
    try:
        compiled = numba.cfunc(signature, cache=True)(handler)
    except RuntimeError:  # no folder to keep it in
        compiled = numba.cfunc(signature)(handler)
    name = f"lottery_jax_{handler.__name__}"
    capsule = jax.ffi.pycapsule(ctypes.c_void_p(compiled.address))
    jax.ffi.register_ffi_target(name, capsule, platform="cpu")

    def call(*arrays, shape):
        if not {array.dtype.name for array in arrays} <= {"float32", "int32"}:
            raise TypeError(f"{name}: of float32 and int32, not {arrays}")
        result = jax.ShapeDtypeStruct(shape, jnp.float32)
        return jax.ffi.ffi_call(name, result, vmap_method="sequential")(*arrays)

    call.handler = compiled  # its code lives as long as the operation
    call.__doc__ = handler.__doc__
    return call
