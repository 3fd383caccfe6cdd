"""Engine `cinder`: OpenStack Cinder's own code, unmodified, under simulated time.

Importing this package imports Cinder (about two seconds). Cinder's warnings at import are suppressed, because
a user of the simulator cannot act on them.
"""

import warnings

from sim.inputs.imports import hidden

# The last is an optional part of jsonschema that checks addresses. Cinder asks for none of its checks, and it
# reads a grammar for nearly a second.
with warnings.catch_warnings(), hidden("rfc3987_syntax"):
    warnings.simplefilter("ignore")
    import cinder.objects

    cinder.objects.register_all()  # before the rest, as Cinder's services do

    import cinder.api.contrib.volume_actions
    import cinder.image.image_utils  # before cinder.image.glance: they import each other
    import cinder.scheduler.filter_scheduler
    import cinder.scheduler.flows.create_volume
    import cinder.volume.manager
