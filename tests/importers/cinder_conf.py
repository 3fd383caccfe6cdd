"""Prints what Cinder itself takes from files of cinder.conf, as JSON. A program: it uses Cinder's CONF."""

from __future__ import annotations

import importlib
import json
import sys

from cinder.cmd import volume as service  # isort: skip  (the first: it patches what others import)
from cinder import objects
from cinder.volume import configuration, driver
from oslo_config import cfg

NAMES = ("volume_driver", "volume_backend_name", "image_volume_cache_enabled", "image_volume_cache_max_count")


def main() -> None:
    files = [text for path in sys.argv[1:] for text in ("--config-file", path)]
    cfg.CONF(files, project="cinder", default_config_files=[], default_config_dirs=[])
    objects.register_all()
    manager = importlib.import_module("cinder.volume.manager")
    found = {}
    for name in filter(None, cfg.CONF.enabled_backends):
        cfg.CONF.register_opt(service.host_opt, group=name)  # as `_launch_service` does
        options = configuration.Configuration(
            [*driver.volume_opts, *driver.image_opts, *manager.volume_backend_opts], config_group=name
        )
        found[name] = {option: options.safe_get(option) for option in NAMES}
        found[name]["host"] = getattr(cfg.CONF, name).backend_host or cfg.CONF.host
    print(json.dumps(found))


if __name__ == "__main__":
    main()
