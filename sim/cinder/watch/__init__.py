"""Invariants of a run, watched while it runs."""
