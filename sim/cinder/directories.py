"""The conversion directories of all nodes, as Cinder's `image_utils` meets them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
from cinder import exception
from cinder.image import image_utils
from oslo_concurrency import processutils
from oslo_config import cfg

from sim.cinder.clock import Clock, current_process
from sim.inputs.scenario import Image, Scenario
from sim.model.directories import Directory, Unmeasured
from sim.model.records import directories_table, nodes_table
from sim.model.repeats import repeats
from sim.model.usage import Floats

_check_available_space = image_utils.check_available_space


class Directories:
    """The conversion directory of each node. A file takes its whole size as soon as it begins to grow."""

    def __init__(self, clock: Clock, scenario: Scenario, times: Floats) -> None:
        self._limits = scenario.conversion_limits()
        names = {node for backend in scenario.backends.values() for node in backend.node_names}
        self._times = times
        self._measured = {
            name: Directory(lambda: clock.now, gib, times) for name, gib in self._limits.items()
        }
        self._by_node: Mapping[str, Directory | Unmeasured] = {
            name: self._measured.get(name) or Unmeasured() for name in names
        }

    def here(self) -> Directory | Unmeasured:
        """The directory of the node on which the current process runs."""
        return self._by_node[current_process().node]

    def disk_usage(self, path: str) -> SimpleNamespace:
        """`shutil.disk_usage` (`psutil.disk_usage` in older releases): free bytes of the directory."""
        free = self.here().free
        return SimpleNamespace(free=int(free) if free.is_integer() else free)

    def check_available_space(self, dest: str, image_size: int, image_id: str) -> None:
        """Cinder's own; counts what it refuses."""
        directory = self.here()
        directory.ask(image_size)
        try:
            _check_available_space(dest, image_size, image_id)
        except exception.ImageTooBig:
            directory.refused += 1
            raise

    @repeats("cinder.image.image_utils", "fetch")
    def keep(self, image: Image) -> None:
        """Lay a download in the directory. Raises ImageTooBig, as `fetch` does on a full disk."""
        if not self.here().put(image.size_bytes):
            where = f"path ({cfg.CONF.image_conversion_dir})"
            reason = f"No space left in image_conversion_dir {where} while fetching image {image.image_id}."
            raise exception.ImageTooBig(image_id=image.image_id, reason=reason)

    @contextmanager
    def converted(self, size_bytes: int) -> Iterator[None]:
        """Keep a file that is converted in the directory meanwhile (0 bytes: there is none). Raises
        ProcessExecutionError, as `qemu-img convert` does on a full disk."""
        if size_bytes == 0:
            yield
            return
        directory = self.here()
        if not directory.put(size_bytes):
            raise processutils.ProcessExecutionError(stderr="No space left on device")
        try:
            yield
        finally:
            directory.remove(size_bytes)

    def table(self, end: float) -> pd.DataFrame:
        """`Records.nodes`; means over [0, `end`] seconds."""
        rows = self._measured.values()
        return nodes_table(
            self._limits, [(each.mean(end), each.peak, each.needed, each.refused) for each in rows]
        )

    def over_time(self) -> pd.DataFrame:
        """`Records.directories`."""
        levels = [each.over_time() for each in self._measured.values()]
        used, peaks = np.reshape(np.array(levels), (len(levels), len(self._times), 2)).transpose(2, 0, 1)
        return directories_table(list(self._limits), self._times, used, peaks)
