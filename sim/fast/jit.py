"""Compilation by Numba, and the state as compiled code gets it: one pointer.

A named tuple of arrays would be passed as some two hundred values at every call. Compiled code gets a table
of addresses and shapes instead; `s.volumes` is an array made of the table's entries. Nothing there holds
references: Python keeps the arrays alive while compiled code runs.

With NUMBA_DISABLE_JIT=1 nothing is compiled: all functions stay Python's, and a table is the state itself,
seen through sim/fast/interpreted.py.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, models, register_model
from numba.np import arrayobj
from numba.np.arrayobj import populate_array

from sim.fast import interpreted, keeping, linking
from sim.fast.state import DIMENSIONS, TYPES, State
from sim.inputs.imports import hidden

F = TypeVar("F", bound=Callable[..., Any])
DTYPES = {name: np.dtype(of) for name, of in TYPES.items()}
INTERPRETED = bool(numba.config.DISABLE_JIT)


# Numba finds no BLAS: else it imports SciPy's linear algebra, which nothing here needs.
with hidden("scipy.linalg"):
    import numba.np.arraymath


class StateArray(types.Array):
    """An array of the state: no index is negative, so compiled code does not ask whether to count backwards.

    NUMBA_BOUNDSCHECK=1 finds one that is.
    """

    def __init__(self, dtype: Any, dimensions: int) -> None:
        super().__init__(dtype, dimensions, "C", name=f"state_array({dtype}, {dimensions}d)")


register_model(StateArray)(models.ArrayModel)
ARRAYS = {
    name: StateArray(numba.from_dtype(dtype), DIMENSIONS.get(name, 1)) for name, dtype in DTYPES.items()
}
WORDS = 4  # of the table for each array: its address and up to three dimensions


def compiled(function: F) -> F:
    """For functions that compiled ones call.

    Without machine code of their own and wrappers to call them from Python, which cost most of the time to
    compile, and without reference counts: nothing here allocates. All whole numbers are int64, constants
    too: there is one version of each function. Nothing raises, so that no call has to ask whether it did: a
    division by zero gives what NumPy's does.
    """
    return _part(function, forceinline=False)


def inlined(function: F) -> F:
    """As `compiled`, for what most events call, from few places: it is put into its callers."""
    return _part(function, forceinline=True)


def _part(function: F, forceinline: bool) -> F:
    decorated: F = numba.njit(
        forceinline=forceinline,
        _nrt=False,
        error_model="numpy",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        pipeline_class=linking.PartCompiler,
    )(function)
    if not INTERPRETED:
        linking.one_version(decorated)
    return decorated


def entry(function: F) -> F:
    """For functions that Python calls, with a `table`; kept on disk together with all that they call."""
    return _kept(
        numba.njit(
            _nrt=False, error_model="numpy", no_cfunc_wrapper=True, pipeline_class=linking.WholeCompiler
        )(function)
    )


def threaded_entry(function: F) -> F:
    """As `entry`, for functions that threads call at once: they hold no lock of Python's while they run."""
    return _kept(numba.njit(nogil=True, _nrt=False, pipeline_class=linking.WholeCompiler)(function))


def _kept(decorated: Any) -> Any:
    if not INTERPRETED:
        keeping.keep(decorated)
    return decorated


@compiled
def _same(x: int) -> int:
    return x


# Whole numbers are int64, and what overflows is as with C's; Python's own do not overflow.
wrapped = interpreted.wrapped if INTERPRETED else _same


def table_of(s: State) -> Any:
    """The present addresses and shapes of a state's arrays (N,), from which `state_of` makes a state."""
    words: list[int] = []
    for name, array in zip(State._fields, s, strict=True):
        if not (array.dtype is DTYPES[name] or array.dtype == DTYPES[name]) or not array.flags.c_contiguous:
            raise TypeError(f"{name} is an array of {array.dtype}, not of {TYPES[name]} in C order")
        words += (array.ctypes.data, *array.shape, *(0,) * (WORDS - 1 - array.ndim))
    return interpreted.viewed(s) if INTERPRETED else np.array(words, np.int64)


class StateType(types.Type):
    """`State` in compiled code."""

    def __init__(self) -> None:
        super().__init__(name="State")


state_type = StateType()


@register_model(StateType)
class StateModel(models.PrimitiveModel):
    """A pointer to the table."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, ir.IntType(64).as_pointer())


@intrinsic
def _state_of(typing_context: Any, table: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return state_type(table), code


def _itself(table: Any) -> Any:
    return table


state_of = _itself if INTERPRETED else _state_of  # the state behind a table


@infer_getattr
class StateAttributes(AttributeTemplate):
    """The types of the arrays."""

    key = StateType

    def generic_resolve(self, value: Any, attr: str) -> types.Type | None:
        """The array that an attribute is."""
        return ARRAYS.get(attr)


@lower_getattr_generic(StateType)
def array_of(context: Any, builder: Any, kind: Any, value: Any, attr: str) -> Any:
    """An array over the memory at the table's address."""
    word = ir.IntType(64)
    first = WORDS * State._fields.index(attr)
    array_type = context.typing_context.resolve_getattr(kind, attr)
    words = [
        builder.load(builder.gep(value, [word(first + number)])) for number in range(1 + array_type.ndim)
    ]
    for each in words:  # nothing compiled writes into the table
        each.set_metadata("invariant.load", builder.module.add_metadata([]))
    itemsize = DTYPES[attr].itemsize
    strides = [word(itemsize)]
    for size in reversed(words[2:]):
        strides.insert(0, builder.mul(size, strides[0]))
    array = context.make_array(array_type)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(words[0], array.data.type),
        shape=words[1:],
        strides=strides,
        itemsize=word(itemsize),
        meminfo=None,
    )
    return array._getvalue()


def _unsigned(context: Any, builder: Any, signature: Any, args: Any) -> tuple[Any, Any]:
    """The signature and the arguments with an index of unsigned numbers, which Numba takes as they are."""
    given = signature.args[1]
    signed, unsigned = types.intp, types.uintp
    if isinstance(given, types.BaseTuple):
        signed, unsigned = (types.UniTuple(each, len(given)) for each in (signed, unsigned))
    index = context.cast(builder, args[1], given, signed)
    kinds = (signature.args[0], unsigned, *signature.args[2:])
    return signature.replace(args=kinds), (args[0], index, *args[2:])


@lower_builtin(operator.getitem, StateArray, types.Integer)
def _item(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return arrayobj.getitem_arraynd_intp(context, builder, *_unsigned(context, builder, signature, args))


@lower_builtin(operator.getitem, StateArray, types.BaseTuple)
def _item_of_many(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return arrayobj.getitem_array_tuple(context, builder, *_unsigned(context, builder, signature, args))


@lower_builtin(operator.setitem, StateArray, types.Any, types.Any)
def _set_item(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return arrayobj.setitem_array(context, builder, *_unsigned(context, builder, signature, args))
