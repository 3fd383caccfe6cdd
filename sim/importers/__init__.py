"""A scenario out of a real cloud: its cinder.conf, Cinder's database, Glance, notifications."""

import sim.cinder  # noqa: F401  Cinder's modules need an order to be imported in
