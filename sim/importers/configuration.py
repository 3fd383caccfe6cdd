"""cinder.conf, read by oslo.config with Cinder's own option definitions."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oslo_config import cfg

from sim.importers import drivers
from sim.importers.notes import Note
from sim.inputs.problems import Problems, quoted

# Where Cinder keeps the definitions, and the group each belongs to (None: [DEFAULT]).
_GLOBAL = (
    (
        "cinder.volume.manager",
        "volume_manager_opts",
        None,
    ),
    ("cinder.common.config", "core_opts", None),  # state_path, of which other values are made
    ("cinder.common.config", "global_opts", None),
    ("cinder.context", "context_opts", None),
    ("cinder.image.glance", "image_opts", None),
    ("cinder.quota", "quota_opts", None),
    ("cinder.scheduler.driver", "scheduler_driver_opts", None),
    ("cinder.coordination", "coordination_opts", "coordination"),
)
_PER_BACKEND = (
    ("cinder.volume.driver", "volume_opts"),
    ("cinder.volume.driver", "image_opts"),
    ("cinder.volume.manager", "volume_backend_opts"),
    ("cinder.volume.drivers.netapp.options", "netapp_proxy_opts"),  # which of its drivers is loaded
)
SHARED = "backend_defaults"  # cinder.volume.configuration.SHARED_CONF_GROUP
_WHOLE = ("scheduler_max_attempts", "backend_stats_polling_interval", "quota_volumes", "quota_gigabytes")
_UPLOAD = "image_upload_use_cinder_backend"
CACHE_OPTIONS = (
    "image_volume_cache_enabled",
    "image_volume_cache_max_size_gb",
    "image_volume_cache_max_count",
)


@dataclass(frozen=True)
class Section:
    """A backend of `enabled_backends`; the options are Cinder's. A ratio of None is `auto`.

    `loaded_driver` is the class that Cinder makes of `volume_driver`, `driver_options` are those of its own
    options that decide what a clone is.
    """

    name: str
    node: str
    volume_backend_name: str
    volume_driver: str
    image_volume_cache_enabled: bool
    image_volume_cache_max_size_gb: int
    image_volume_cache_max_count: int
    max_over_subscription_ratio: float | None
    reserved_percentage: int
    loaded_driver: str
    driver_options: dict[str, Any]


@dataclass(frozen=True)
class Configuration:
    """What cinder.conf says of the image-volume cache, the Cinder store and placing.

    `internal_tenant` is None unless project and user are set: without both Cinder caches nothing
    (`cinder.context.get_internal_tenant_context`). Quotas are each project's, -1 for no limit.
    """

    sections: dict[str, Section]
    allowed_direct_url_schemes: tuple[str, ...]
    internal_tenant: str | None
    lock_scope: str
    scheduler_max_attempts: int
    backend_stats_polling_interval: int
    quota_volumes: int
    quota_gigabytes: int
    notes: tuple[Note, ...]

    @property
    def strategy(self) -> str:
        """The strategy that describes these settings."""
        store = "cinder" in self.allowed_direct_url_schemes
        cache = self.internal_tenant is not None and any(
            section.image_volume_cache_enabled for section in self.sections.values()
        )
        return {(0, 0): "none", (1, 0): "store-only", (0, 1): "cache-only", (1, 1): "combined"}[store, cache]


def read(paths: Sequence[Path], problems: Problems) -> Configuration | None:
    """Reads configuration files and folders as Cinder does `--config-file` and `--config-dir`, in this order.

    None, with every problem noted, if they cannot be used.
    """
    for path in paths:
        if not path.exists():
            problems.add(path, "", "there is no such file or folder")
    if problems:
        return None
    conf = _parse(paths, problems)
    return None if conf is None else _Reader(conf, paths, problems).configuration()


def _parse(paths: Sequence[Path], problems: Problems) -> cfg.ConfigOpts | None:
    conf = cfg.ConfigOpts()
    for module, name, group in _GLOBAL:
        conf.register_opts(getattr(importlib.import_module(module), name), group=group)
    # Only `cinder.cmd.volume` defines it, whose import starts what a service needs.
    backend_host = cfg.StrOpt("backend_host")
    backend_options = [opt for module, name in _PER_BACKEND for opt in _options(module, name)]
    # In [DEFAULT] too, where Cinder does not look for them, to be able to say so.
    conf.register_opts([cfg.StrOpt(name) for name in CACHE_OPTIONS])
    arguments = [
        text for path in paths for text in ("--config-dir" if path.is_dir() else "--config-file", str(path))
    ]
    try:
        conf(arguments, project="cinder", default_config_files=[], default_config_dirs=[])
    except cfg.ConfigFileParseError as error:
        problems.add(error.config_file, *_parse_error(error.msg))
        return None
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        problems.add(paths[0], "", f"cannot be read: {error}")
        return None
    conf.register_opts(backend_options, group=SHARED)
    for section in conf.list_all_sections():
        if section not in ("DEFAULT", SHARED, "coordination"):
            # As `cinder.volume.configuration.BackendGroupConfiguration`: None is not set here.
            for opt in (*backend_options, backend_host):
                conf.register_opt(opt, group=section)
                conf.set_default(opt.name, None, group=section)
    return conf


def _options(module: str, name: str) -> list[cfg.Opt]:
    options: list[cfg.Opt] = getattr(importlib.import_module(module), name)
    return options


def _parse_error(message: str) -> tuple[str, str]:
    """Where and what of `at file:line, what: text`, as oslo.config tells what it cannot parse."""
    found = re.match(r"at .*?:(\d+), (.*)", message, re.DOTALL)
    return (f"line {found[1]}", " ".join(found[2].split())) if found else ("", message)


class _Reader:
    """Values of parsed files, every one that is wrong noted."""

    def __init__(self, conf: cfg.ConfigOpts, paths: Sequence[Path], problems: Problems) -> None:
        self.conf = conf
        self.problems = problems
        self.files = ", ".join(map(str, paths))

    def configuration(self) -> Configuration | None:
        tenant = [self._get(f"cinder_internal_tenant_{which}_id") for which in ("project", "user")]
        whole = {name: self._get(name) for name in _WHOLE}
        schemes = self._get("allowed_direct_url_schemes") or ()
        url = self._get("backend_url", "coordination") or ""
        sections = self._sections()
        if self.problems:
            return None
        found = Configuration(
            sections=sections,
            allowed_direct_url_schemes=tuple(scheme.strip() for scheme in schemes),
            internal_tenant=tenant[0] if all(tenant) else None,
            # A `file:` lock is of one node, whatever is mounted there; what else tooz has spans the cloud.
            lock_scope="node" if url.startswith("file:") else "cloud",
            notes=(),
            **whole,
        )
        return replace(found, notes=tuple(self._notes(found)))

    def _sections(self) -> dict[str, Section]:
        there = set(self.conf.list_all_sections())
        enabled = [name for name in self._get("enabled_backends") or () if name]
        if not enabled:
            self.problems.add(self.files, "[DEFAULT] enabled_backends", "is empty: there is no backend")
        known = ", ".join(sorted(there - {"DEFAULT", SHARED, "coordination"})) or "none at all"
        for name in set(enabled) - there:
            what = f"{quoted(name)} has no section of its own; there are: {known}"
            self.problems.add(self.files, "[DEFAULT] enabled_backends", what)
        return {name: self._section(name) for name in dict.fromkeys(enabled) if name in there}

    def _section(self, name: str) -> Section:
        others = ("name", "node", "loaded_driver", "driver_options")
        fields = [field for field in Section.__annotations__ if field not in others]
        values = {field: self._of_backend(name, field) for field in fields}
        ratio = values["max_over_subscription_ratio"]
        values["max_over_subscription_ratio"] = None if ratio in (None, "auto") else float(ratio)
        # Most drivers call themselves as their section where no name is configured.
        values["volume_backend_name"] = values["volume_backend_name"] or name
        for limit in CACHE_OPTIONS[1:]:  # for Cinder all that is not positive is no limit
            values[limit] = max(0, values[limit] or 0)
        node = self._get("backend_host", name) or self._get("host")
        loaded = drivers.loaded(values["volume_driver"], lambda option: self._of_backend(name, option))
        own = self._driver_options(name, loaded)
        return Section(name=name, node=node, loaded_driver=loaded, driver_options=own, **values)

    def _driver_options(self, name: str, loaded: str) -> dict[str, Any]:
        found = {}
        for opt in drivers.options(loaded):
            self.conf.register_opt(opt, group=SHARED)
            self.conf.register_opt(opt, group=name)
            self.conf.set_default(opt.name, None, group=name)
            found[opt.name] = self._of_backend(name, opt.name)
        return found

    def _of_backend(self, section: str, name: str) -> Any:
        value = self._get(name, section)
        return self._get(name, SHARED) if value is None else value

    def _get(self, name: str, group: str | None = None) -> Any:
        try:
            return getattr(self.conf if group is None else getattr(self.conf, group), name)
        except (cfg.Error, ValueError) as error:
            told = re.search(r"detail='(.*)'\) is not valid: (.*)", str(error), re.DOTALL)
            file, text = told.groups() if told else (self.files, str(error))
            # A URL may hold a password.
            what = "cannot be used" if name == "backend_url" else " ".join(text.split())
            if number := re.fullmatch(r"invalid literal for int\(\) with base 10: (.*)", what):
                what = f"{number[1]} is not a whole number"
            self.problems.add(file, f"[{group or 'DEFAULT'}] {name}", what)
            return None

    def _notes(self, found: Configuration) -> Iterator[Note]:
        backends = ", ".join(f"{one.name} ({one.volume_driver})" for one in found.sections.values())
        yield Note("read", f"cinder.conf ({self.files}): backends {backends}")
        cached = [one for one in found.sections.values() if one.image_volume_cache_enabled]
        if cached and found.internal_tenant is None:
            names = "cinder_internal_tenant_project_id and cinder_internal_tenant_user_id"
            yield Note("read", f"{names} are not both set: Cinder caches nothing, though it is enabled")
        stray = ", ".join(name for name in CACHE_OPTIONS if self._get(name) is not None)
        if stray:
            where = f"they belong into [{SHARED}] or a backend's section"
            yield Note("read", f"[DEFAULT] {stray}: Cinder does not look there; {where}")
        for one in cached:
            if not (one.image_volume_cache_max_count or one.image_volume_cache_max_size_gb):
                until = "until the array or the internal tenant's quota is full"
                yield Note("read", f"[{one.name}] the cache has no limit: it grows {until}")
        for one in found.sections.values():
            if one.max_over_subscription_ratio is None:
                what = "max_over_subscription_ratio is auto, which is not simulated: 20.0 is taken"
                yield Note("assumed", f"[{one.name}] {what}")
        uploads = [name for name in found.sections if self._of_backend(name, _UPLOAD)]
        if uploads:
            what = "image-volumes of uploaded images are not told apart from users' volumes"
            yield Note("unknown", f"{_UPLOAD} on {', '.join(uploads)}: {what}")
