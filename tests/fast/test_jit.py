"""A state in compiled code: whatever Python wrote is read there, and the other way round."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numba
import numpy as np
import pytest

from sim.fast import state
from sim.fast.interpreted import viewed
from sim.fast.jit import INTERPRETED, compiled, state_of, table_of, wrapped
from sim.fast.linking import WholeCompiler
from sim.fast.state import DIMENSIONS, TYPES, State

SHAPE = {1: (4,), 2: (4, 3), 3: (4, 3, 2)}


jit = numba.njit(_nrt=False, pipeline_class=WholeCompiler)  # as `entry`, but not kept on disk


@pytest.fixture
def s() -> State:
    """Arrays of every type and number of dimensions."""
    return State(*(np.zeros(SHAPE[DIMENSIONS.get(name, 1)], TYPES[name]) for name in State._fields))


def change(table: Any) -> int:
    s = state_of(table)
    r = s.volumes[2]
    r.phase, r.failed, r.error_gib = s.entry_of[3, 1] + 1, True, 2.5
    s.same_data[3, 2, s.trace_code[1]] = len(s.events) + s.may_use.shape[1]
    lock = s.locks[1, 2]
    lock.held = not lock.held
    s.events[1] = s.events[0]
    s.rows[3].error_pool = -1
    return wrapped(r.phase * 2**62)


def test_records_are_references(s: State) -> None:
    s.entry_of[3, 1], s.trace_code[1] = 5, 1
    s.events[0] = (1.5, 2, 3, 4, 5)
    returned = (change if INTERPRETED else jit(change))(table_of(s))
    assert returned == -(2**63)  # 6 * 2^62, as int64 has it
    assert s.volumes[2].tolist() == tuple(
        {"phase": 6, "failed": True, "error_gib": 2.5}.get(name, 0) for name in state.VOLUMES.names or ()
    )
    assert not s.volumes[[0, 1, 3]]["failed"].any()
    assert s.same_data[3, 2, 1] == 4 + 3
    assert s.locks["held"].nonzero() == (1, 2)
    assert s.events[1].tolist() == (1.5, 2, 3, 4, 5)
    assert s.rows["error_pool"].tolist() == [0, 0, 0, -1]


@pytest.mark.parametrize("wrong", [np.zeros(4, "f8"), np.zeros((4, 6), "i8")[:, ::2]])
def test_other_arrays_are_refused(s: State, wrong: np.ndarray[Any, Any]) -> None:
    with pytest.raises(TypeError, match="members is an array of"):
        table_of(s._replace(members=wrong))


def test_a_record_shows_its_fields_to_who_debugs(s: State) -> None:
    s.events[1] = (1.5, 2, 3, 4, 5)
    assert repr(viewed(s).events[1]) == "[1] time=1.5, sequence=2, what=3, who=4, pool=5"


def first_of(table: Any, at: int) -> float:
    return state_of(table).events[at].time + state_of(table).entry_of[at, 0]  # type: ignore[no-any-return]


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
def test_checks_find_an_index_that_is_negative(s: State) -> None:
    checked = numba.njit(boundscheck=True, pipeline_class=WholeCompiler)(first_of)
    assert checked(table_of(s), 3) == 0
    for wrong in (-1, 4):
        with pytest.raises(IndexError):
            checked(table_of(s), wrong)


@compiled
def twice(x: int) -> int:
    return 2 * x


@compiled
def sum_of_twice(x: int) -> int:
    return twice(x) + twice(3) + twice(4)


def total(x: int) -> int:
    return sum_of_twice(x) + sum_of_twice(5)


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
def test_a_function_has_one_version_and_machine_code_only_in_its_entry() -> None:
    assert jit(total)(1) == (2 + 6 + 8) + (10 + 6 + 8)
    for function in (twice, sum_of_twice):
        (result,) = function.overloads.values()
        assert result.signature.args == (numba.int64,)
        assert result.library.get_pointer_to_function(result.fndesc.mangled_name) == 0


SMALL_RUN = """
import sys
import sim
sim.run(sim.load("scenarios/smallest.yaml"), "none", "fast")
assert "scipy.linalg" not in sys.modules
from scipy.linalg import inv
assert inv([[2.0]]).tolist() == [[0.5]]
"""


def test_numba_imports_no_linear_algebra_and_others_can() -> None:
    subprocess.run([sys.executable, "-c", SMALL_RUN], check=True)
