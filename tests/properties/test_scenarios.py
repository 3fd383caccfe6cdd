"""Invariants over whole drawn scenarios, watched while they run."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from sim.cinder.watch.parts import watched_run
from sim.inputs.scenario import Case

from .cases import cases

STRATEGY = st.sampled_from(("cache-only", "combined", "cache-only", "combined", "store-only", "none"))


@given(case=cases(), strategy=STRATEGY)
def test_invariants(case: Case, strategy: str) -> None:
    """Whatever happens, each invariant holds at every moment and of every table."""
    _, watch = watched_run(case, strategy)
    for what in sorted(+watch.served):
        event(what)
    assert not watch.broken
