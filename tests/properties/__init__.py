"""Invariants of the simulator, checked over drawn scenarios: the list is in INVARIANTS.md."""
