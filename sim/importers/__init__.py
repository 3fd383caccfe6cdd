"""Makes a scenario of a real cloud: its cinder.conf, Cinder's database, Glance and notifications."""

import sim.cinder  # noqa: F401  Cinder's modules need an order to be imported in
