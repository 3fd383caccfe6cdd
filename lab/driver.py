"""A volume driver for the lab's cloud: volumes are sparse files, and clones are XFS reflinks.

It is a driver as Cinder's own interface wants it. Its options give an array's limits, and how long each
operation lasts at least, so that times depend little on the machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cinder import exception, interface
from cinder.image import image_utils
from cinder.volume import configuration, driver
from oslo_config import cfg

GIB = 1 << 30
MIB = 1 << 20

OPTIONS = [
    cfg.StrOpt("lab_folder", help="Folder that holds the volumes."),
    cfg.StrOpt("lab_pool", help="Name of its only pool."),
    cfg.BoolOpt("lab_reflinks", default=True, help="Clones share data with their sources."),
    cfg.IntOpt("lab_max_volumes", help="Largest number of volumes."),
    cfg.IntOpt("lab_max_clones_per_volume", help="Largest number of live clones of a volume."),
    cfg.BoolOpt("lab_busy_deletes", default=False, help="Refuse to delete a volume that has clones."),
    cfg.IntOpt("lab_write_streams", help="Images written at the same time by a service."),
    *(
        cfg.FloatOpt(f"lab_{name}_s", default=0, min=0, help=f"Seconds of a {name} at least.")
        for name in ("create", "clone", "delete", "extend")
    ),
    cfg.FloatOpt("lab_clone_mib_s", help="Rate of a full copy."),
    cfg.FloatOpt("lab_write_mib_s", help="Rate of writing an image's virtual size."),
    cfg.FloatOpt(
        "lab_convert_mib_s", help="Rate of converting the virtual size of an image that is not raw."
    ),
    cfg.BoolOpt("lab_holes_are_free", default=False, help="Rates count an image's data, and not its holes."),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class ReflinkDriver(driver.VolumeDriver):  # type: ignore[misc]
    """Volumes below `lab_folder`/volumes; `lab_folder`/sources has what each clone was made from."""

    VERSION = "1"
    CI_WIKI_NAME = "none"
    SUPPORTS_ACTIVE_ACTIVE = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.folder = Path(self.configuration.lab_folder)
        streams = self.configuration.lab_write_streams
        self.writing = threading.Semaphore(streams) if streams else None

    def check_for_setup_error(self) -> None:
        for name in ("volumes", "sources"):
            (self.folder / name).mkdir(exist_ok=True)

    def create_volume(self, volume: Any) -> None:
        with self._operation("create", volume, self.configuration.lab_create_s):
            self._take(volume)
            os.truncate(self._path(volume), volume.size * GIB)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        source = self._path(src_vref)
        seconds = self.configuration.lab_clone_s
        if self.configuration.lab_clone_mib_s:
            seconds += source.stat().st_size / MIB / self.configuration.lab_clone_mib_s
        with self._operation("clone", volume, seconds, source=src_vref.id):
            self._take(volume, src_vref)
            how = "always" if self.configuration.lab_reflinks else "never"
            path = self._path(volume)
            self._execute("cp", f"--reflink={how}", "--sparse=auto", str(source), str(path))
            os.truncate(path, volume.size * GIB)

    def copy_image_to_volume(
        self, context: Any, volume: Any, image_service: Any, image_id: str, disable_sparse: bool = False
    ) -> None:
        raw = image_service.show(context, image_id)["disk_format"] == "raw"
        if self.writing:
            self.writing.acquire()
        try:
            with self._operation("write", volume, 0, image=image_id) as lasting:
                path = self._path(volume)
                image_utils.fetch_to_raw(
                    *(context, image_service, image_id, str(path), self.configuration.volume_dd_blocksize),
                    size=volume.size,
                    run_as_root=False,
                )
                found = path.stat()
                free = self.configuration.lab_holes_are_free
                mib = (found.st_blocks * 512 if free else found.st_size) / MIB
                for rate in (
                    self.configuration.lab_write_mib_s,
                    not raw and self.configuration.lab_convert_mib_s,
                ):
                    lasting[0] += mib / rate if rate else 0
                os.truncate(path, volume.size * GIB)
                self._execute("sync", str(path))  # a clone would wait for it
        finally:
            if self.writing:
                self.writing.release()

    def copy_volume_to_image(self, context: Any, volume: Any, image_service: Any, image_meta: Any) -> None:
        raise NotImplementedError

    def delete_volume(self, volume: Any) -> None:
        path = self._path(volume)
        if not path.exists():
            return
        if self.configuration.lab_busy_deletes and self._clones(volume.name):
            raise exception.VolumeIsBusy(volume_name=volume.name)
        with self._operation("delete", volume, self.configuration.lab_delete_s):
            pass
        path.unlink()
        (self.folder / "sources" / volume.name).unlink(missing_ok=True)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        with self._operation("extend", volume, self.configuration.lab_extend_s):
            os.truncate(self._path(volume), new_size * GIB)

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        if refresh or not self._stats:
            self._update_volume_stats()
        return dict(self._stats)

    def _update_volume_stats(self) -> None:
        space = os.statvfs(self.folder)
        volumes = [path.stat().st_size for path in (self.folder / "volumes").iterdir()]
        option = self.configuration.safe_get
        pool = {
            "pool_name": option("lab_pool"),
            "total_capacity_gb": space.f_blocks * space.f_frsize / GIB,
            "free_capacity_gb": space.f_bavail * space.f_frsize / GIB,
            "provisioned_capacity_gb": sum(volumes) / GIB,
            "max_over_subscription_ratio": option("max_over_subscription_ratio"),
            "reserved_percentage": option("reserved_percentage"),
            "thin_provisioning_support": True,
            "thick_provisioning_support": False,
        }
        self._stats = {
            "volume_backend_name": option("volume_backend_name"),
            "vendor_name": "lab",
            "driver_version": self.VERSION,
            "storage_protocol": "file",
            "pools": [pool],
        }

    def create_export(self, context: Any, volume: Any, connector: Any) -> None: ...

    def ensure_export(self, context: Any, volume: Any) -> None: ...

    def remove_export(self, context: Any, volume: Any) -> None: ...

    def initialize_connection(self, volume: Any, connector: Any) -> Any:
        raise NotImplementedError  # no server runs here

    def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> None: ...

    def _path(self, volume: Any) -> Path:
        return self.folder / "volumes" / str(volume.name)

    def _clones(self, name: str) -> int:
        return sum(source.read_text() == name for source in (self.folder / "sources").iterdir())

    def _take(self, volume: Any, source: Any = None) -> None:
        """Takes a place for the volume, or fails as an array's driver does. Several services may share it."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            most = self.configuration.lab_max_clones_per_volume
            if source and most is not None and self._clones(source.name) >= most:
                raise exception.SnapshotLimitReached(set_limit=most)
            places = self.configuration.lab_max_volumes
            if places is not None and len(list((self.folder / "volumes").iterdir())) >= places:
                raise exception.VolumeBackendAPIException(data=f"the array holds {places} volumes already")
            self._path(volume).touch()
            if source and self.configuration.lab_reflinks:
                (self.folder / "sources" / volume.name).write_text(source.name)

    @contextmanager
    def _operation(self, name: str, volume: Any, seconds: float, **more: str) -> Iterator[list[float]]:
        """Lasts so many seconds, and notes what happened in a file. Its body may change the seconds."""
        start, began, lasting, error = time.time(), time.monotonic(), [seconds], ""
        try:
            yield lasting
            worked = time.monotonic() - began
            time.sleep(max(0.0, lasting[0] - worked))
        except Exception as failure:
            error, worked = type(failure).__name__, time.monotonic() - began
            raise
        finally:
            line = {"operation": name, "volume": volume.id, "start": start, "end": time.time()}
            line |= {"worked_s": worked, "node": self.host, "error": error, **more}
            with (self.folder / "operations.jsonl").open("a") as journal:
                journal.write(json.dumps(line) + "\n")
