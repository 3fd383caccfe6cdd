"""The common base of both engines: arrays, space, the initial state, and the tables of a run."""
