"""The parameters of a generated workload, fitted to a trace, with the goodness of each."""
