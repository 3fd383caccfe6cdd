"""Files of one of Cinder's services, read by oslo.config with Cinder's own option definitions."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from sim.inputs.problems import Problems

# The modules with Cinder's option definitions, and the group of each (None: [DEFAULT]).
_GLOBAL = (
    ("cinder.volume.manager", "volume_manager_opts", None),
    ("cinder.common.config", "core_opts", None),  # state_path, on which other defaults depend
    ("cinder.common.config", "global_opts", None),
    ("cinder.context", "context_opts", None),
    ("cinder.image.glance", "image_opts", None),
    ("cinder.image.image_utils", "image_opts", None),
    ("cinder.quota", "quota_opts", None),
    ("cinder.scheduler.driver", "scheduler_driver_opts", None),
    ("cinder.scheduler.host_manager", "host_manager_opts", None),
    ("cinder.scheduler.weights.capacity", "capacity_weight_opts", None),
    ("cinder.scheduler.weights.volume_number", "volume_number_weight_opts", None),
    ("cinder.coordination", "coordination_opts", "coordination"),
)
_PER_BACKEND = (
    ("cinder.volume.driver", "volume_opts"),
    ("cinder.volume.driver", "image_opts"),
    ("cinder.volume.manager", "volume_backend_opts"),
    ("cinder.volume.drivers.netapp.options", "netapp_proxy_opts"),  # which of NetApp's drivers Cinder loads
)
SHARED = "backend_defaults"  # cinder.volume.configuration.SHARED_CONF_GROUP
CACHE_OPTIONS = (
    "image_volume_cache_enabled",
    "image_volume_cache_max_size_gb",
    "image_volume_cache_max_count",
)
Raw = dict[str, dict[str, list[str]]]


class ConfFiles:
    """The options in a service's files and folders, in Cinder's order; notes every invalid one.

    `shown` names the files in messages.
    """

    def __init__(self, conf: cfg.ConfigOpts, paths: Sequence[Path], problems: Problems) -> None:
        self._conf, self._paths, self._problems = conf, paths, problems
        self.shown = ", ".join(map(str, paths))

    def get(self, name: str, group: str | None = None) -> Any:
        """An option's value or default; None, with a problem noted, if the value is invalid.

        A backend with the name of an option of `[DEFAULT]` hides that option, from Cinder too.
        """
        try:
            value = getattr(self._conf if group is None else getattr(self._conf, group), name)
            if not isinstance(value, cfg.ConfigOpts.GroupAttr):
                return value
            what = "cannot be read, because a backend in enabled_backends has its name: Cinder cannot either"
            self._problems.add(self.shown, f"[DEFAULT] {name}", what)
            return None
        except (cfg.Error, ValueError) as error:
            told = re.search(r"detail='(.*)'\) is not valid: (.*)", str(error), re.DOTALL)
            file, text = told.groups() if told else (self.shown, str(error))
            # A URL may hold a password.
            what = "cannot be used" if name == "backend_url" else " ".join(text.split())
            if number := re.fullmatch(r"invalid literal for int\(\) with base 10: (.*)", what):
                what = f"{number[1]} is not a whole number"
            self._problems.add(file, f"[{group or 'DEFAULT'}] {name}", what)
            return None

    def sets(self, name: str, group: str | None = None) -> bool:
        """Whether a file sets an option."""
        try:
            location = self._conf.get_location(name, group)
        except (cfg.Error, ValueError):
            return True
        return location is not None and location.location.is_user_controlled

    def of_backend(self, section: str, name: str) -> Any:
        """A backend's value, else that of `[backend_defaults]`, else the default."""
        value = self.get(name, section)
        return self.get(name, SHARED) if value is None else value

    def define(self, section: str, options: Sequence[cfg.Opt]) -> None:
        """Define options of a backend, as `cinder.volume.configuration.BackendGroupConfiguration` does."""
        for opt in options:
            self._conf.register_opt(opt, group=SHARED)
            self._conf.register_opt(opt, group=section)
            self._conf.set_default(opt.name, None, group=section)  # None means: not set here

    def host_of(self, section: str) -> str | None:
        """A backend's `backend_host`, which no shared section can set."""
        # Only `cinder.cmd.volume` defines it, and importing that starts parts of a service.
        self._conf.register_opt(cfg.StrOpt("backend_host"), group=section)
        host: str | None = self.get("backend_host", section)
        return host or None

    def raw(self) -> dict[Path, Raw]:
        """Every file's sections as written: option to values."""
        found: dict[Path, Raw] = {}
        for path in self._paths:
            for file in files_of(path):
                cfg.ConfigParser(str(file), found.setdefault(file, {})).parse()
        return found


def files_of(path: Path) -> list[Path]:
    """A file, or the files of a folder that Cinder reads."""
    return sorted(path.glob("*.conf")) if path.is_dir() else [path]


def parse(paths: Sequence[Path], problems: Problems) -> ConfFiles | None:
    """Read files and folders in this order, as Cinder does for `--config-file` and `--config-dir`.

    None, with the problem noted, if they cannot be parsed.
    """
    conf = cfg.ConfigOpts()
    for module, name, group in _GLOBAL:
        conf.register_opts(_defined(module, name), group=group)
    conf.register_opt(cfg.StrOpt("cluster"))  # `cinder.cmd.volume` defines it, like `backend_host`
    # Also in [DEFAULT], where Cinder does not look for them, so that a note can say so.
    conf.register_opts([cfg.StrOpt(name) for name in CACHE_OPTIONS])
    arguments = [
        text for path in paths for text in ("--config-dir" if path.is_dir() else "--config-file", str(path))
    ]
    try:
        conf(arguments, project="cinder", default_config_files=[], default_config_dirs=[])
    except cfg.ConfigFileParseError as error:
        problems.add(error.config_file, *parse_error(error.msg))
        return None
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        problems.add(paths[0], "", f"cannot be read: {error}")
        return None
    return ConfFiles(conf, paths, problems)


def backend_options() -> list[cfg.Opt]:
    """Options that every backend has."""
    return [opt for module, name in _PER_BACKEND for opt in _defined(module, name)]


def _defined(module: str, name: str) -> list[cfg.Opt]:
    options: list[cfg.Opt] = getattr(importlib.import_module(module), name)
    return options


def parse_error(message: str) -> tuple[str, str]:
    """Place and reason from `at file:line, what: text`, oslo.config's message for what it cannot parse."""
    found = re.match(r"at .*?:(\d+), (.*)", message, re.DOTALL)
    return (f"line {found[1]}", " ".join(found[2].split())) if found else ("", message)
