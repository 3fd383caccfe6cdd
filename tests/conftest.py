"""Imports the engine first: it keeps the warnings of Cinder's imports out of the tests."""

import sim.cinder  # noqa: F401
