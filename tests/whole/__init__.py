"""The whole of Cinder under simulated time, to check engine `cinder` against."""

from cinder import objects

objects.register_all()  # as Cinder's own commands do: its managers cannot be imported before
