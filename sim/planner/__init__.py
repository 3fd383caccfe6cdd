"""The planner: which strategy, and which limits for every backend's cache, with the reason and the risk."""
