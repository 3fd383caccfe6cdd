"""Invariants over whole drawn scenarios, watched while they run."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from sim.inputs.scenario import Case

from .cases import cases
from .watch import watched_run

STRATEGY = st.sampled_from(("cache-only", "combined", "cache-only", "combined", "store-only", "none"))


@given(case=cases(), strategy=STRATEGY)
def test_invariants(case: Case, strategy: str) -> None:
    """Whatever happens, each invariant holds at every moment and of every table."""
    _, watch = watched_run(case, strategy)
    for what in sorted(+watch.served):
        event(what)
    assert not watch.broken
