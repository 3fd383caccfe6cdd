"""The whole of Cinder under simulated time, to check engine `cinder` against."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Cinder and its libraries warn of each other
    from cinder import objects

    objects.register_all()  # as Cinder's own commands do: its managers cannot be imported before

    from . import reference  # noqa: F401
