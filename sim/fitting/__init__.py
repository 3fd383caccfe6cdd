"""Fits the parameters of a generated workload to a trace, with the goodness of each fit."""
