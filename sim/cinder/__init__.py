"""Engine `cinder`: OpenStack Cinder's own code, unmodified, under simulated time.

Importing this package imports Cinder (some two seconds); its warnings at import stay here, as nobody who
simulates can act on them.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cinder.objects

    cinder.objects.register_all()  # before the rest, as Cinder's services do

    import cinder.image.image_utils  # before cinder.image.glance: they import each other
    import cinder.scheduler.filter_scheduler
    import cinder.scheduler.flows.create_volume
    import cinder.volume.manager
