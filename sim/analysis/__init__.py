"""Analysis of a run: metrics, intervals, curves, findings and checks."""
