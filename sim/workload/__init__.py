"""Workloads that are generated: their parameters, the random streams, the drawing."""
