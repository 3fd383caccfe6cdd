"""The configuration files of a lab, from a scenario: the same file that the simulator reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from lab.caller import TOKEN
from sim.inputs.backend import Backend
from sim.inputs.scenario import BadInput, Case, Scenario

INTERNAL_PROJECT = "11111111111111111111111111111111"
INTERNAL_USER = "22222222222222222222222222222222"
ETC = Path(sys.prefix) / "etc"
GIB = 1 << 30

# What the lab sets up. Whatever else a scenario says must have its default.
OF_CINDER = {"lock_scope", "lock_order", "scheduler_max_attempts", "backend_stats_polling_interval"}
OF_CINDER |= {"internal_tenant_quota_volumes", "internal_tenant_quota_gigabytes"}
OF_CINDER |= {"scheduler_default_weighers"}
OF_BACKENDS = {
    "volume_types",
    "pools",
    "node",
    "nodes",
    "cluster",
    "create_s",
    "clone_s",
    "clone_mib_s",
    "delete_s",
}
OF_BACKENDS |= {"extend_s", "write_mib_s", "convert_mib_s", "write_streams", "max_clones_per_volume"}
OF_BACKENDS |= {"delete_with_clones", "max_over_subscription_ratio", "reserved_percentage"}
OF_BACKENDS |= {f"image_volume_cache_{name}" for name in ("enabled", "max_size_gb", "max_count")}
OF_SCENARIO = {
    "name",
    "seed",
    "glance",
    "cinder",
    "tiers",
    "backends",
    "images",
    "workload",
    "boot_timeout_s",
}
OF_SCENARIO |= {"strategies", "today", "what_if"}
OF_GLANCE = {"streams", "stream_mib_s"}
EVENTS = {"create", "delete", "update_image"}


def check(case: Case) -> None:
    """Raises `BadInput` for what the lab cannot do."""
    scenario = case.scenario
    problems = _changed(scenario, OF_SCENARIO, "")
    problems += _changed(scenario.cinder, OF_CINDER, "cinder.") + _changed(
        scenario.glance, OF_GLANCE, "glance."
    )
    problems += _changed(scenario.what_if, {"prefer_clones"}, "what_if.")
    for name, backend in scenario.backends.items():
        problems += _changed(backend, OF_BACKENDS, f"backends.{name}.")
        if len(backend.pools) > 1 or len(backend.volume_types) > 1:
            problems.append(f"backends.{name}: the lab's arrays have one pool and one volume type")
    events = case.trace.events
    for event in sorted(set(events["event"]) - EVENTS):
        problems.append(f"workload: the lab's player does not know the event {event}")
    created = events[events["event"] == "create"]
    if (created["image_id"] == "").any():
        problems.append("workload: the lab's player makes volumes from images only")
    if problems:
        raise BadInput([f"{case.path}: {problem}" for problem in problems])


def _changed(spec: Any, known: set[str], path: str) -> list[str]:
    """The keys that the lab does not set up, and that do not have their default."""
    return [
        f"{path}{key}: the lab does not set it up"
        for key, field in type(spec).model_fields.items()
        if key not in known and getattr(spec, key) != field.get_default(call_default_factory=True)
    ]


def nodes(scenario: Scenario) -> dict[str, list[str]]:
    """The backends of each node that runs a cinder-volume."""
    found: dict[str, list[str]] = {}
    for name, backend in scenario.backends.items():
        for node in backend.node_names:
            found.setdefault(node, []).append(name)
    return found


def host(scenario: Scenario, node: str, name: str) -> str:
    """The host of a backend's service on a node."""
    backend = scenario.backends[name]
    return f"{name if len(backend.node_names) > 1 and not backend.cluster else node}@{name}"


def write(folder: Path, scenario: Scenario, ports: dict[str, int], reflinks: bool) -> None:
    """Writes `cinder.conf` of the API and the scheduler, one of each node, and Glance's files."""
    shared = _shared(folder, scenario, ports)
    write_file(folder / "cinder.conf", shared)
    for node, names in nodes(scenario).items():
        own = _node(folder, scenario, node, names, reflinks)
        own["DEFAULT"] = shared["DEFAULT"] | own["DEFAULT"]
        write_file(folder / f"cinder-{node}.conf", shared | own)
    _glance(folder, ports)
    paste = (ETC / "cinder/api-paste.ini").read_text()
    paste = paste.replace(" noauth apiv3", " caller noauth apiv3")
    paste += "\n[filter:caller]\npaste.filter_factory = lab.caller:factory\n"
    (folder / "cinder-api-paste.ini").write_text(paste)
    (folder / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"lab": _cloud(ports)}}))


def _cloud(ports: dict[str, int]) -> dict[str, Any]:
    """For the SDK and the `openstack` command: without Keystone, a token and the address of each service."""
    glance, cinder = (f"http://127.0.0.1:{ports[name]}/" for name in ("glance", "cinder"))
    return {
        "auth_type": "admin_token",
        # A third version of an API: else `openstack volume list`, which names an identity, refuses to run.
        "auth": {"endpoint": f"{cinder}v3", "token": TOKEN},
        "image_endpoint_override": glance,
        "image_api_version": "2",
        "block_storage_endpoint_override": cinder,
        "block_storage_api_version": "3",
        "volume_api_version": "3",
    }


def database(ports: dict[str, int], name: str = "cinder") -> str:
    return f"mysql+pymysql://lab:lab@127.0.0.1:{ports['mariadb']}/{name}"


def _shared(folder: Path, scenario: Scenario, ports: dict[str, int]) -> dict[str, dict[str, Any]]:
    options = scenario.cinder
    first = ["PreferClonesWeigher"] if scenario.what_if.prefer_clones else []  # of plugins/clone-first
    quotas = (options.internal_tenant_quota_volumes, options.internal_tenant_quota_gigabytes)
    # A quota class counts for every project: users get quotas of their own, without limits (see cloud.py).
    volumes, gigabytes = (-1 if quota is None else quota for quota in quotas)
    return {
        "DEFAULT": {
            "auth_strategy": "noauth",
            "api_paste_config": folder / "cinder-api-paste.ini",
            "resource_query_filters_file": ETC / "cinder/resource_filters.json",
            "rootwrap_config": ETC / "cinder/rootwrap.conf",
            "state_path": folder / "state",
            "log_dir": folder / "logs",
            "use_stderr": False,
            "default_log_levels": "amqp=WARN,sqlalchemy=WARN,urllib3=WARN,stevedore=WARN,keystone=INFO,"
            "oslo.messaging=INFO,oslo_messaging=INFO,dogpile=INFO,cinder.coordination=DEBUG,"
            "cinder.image.cache=DEBUG,cinder.volume.flows.manager.create_volume=DEBUG",
            "transport_url": f"rabbit://guest:guest@127.0.0.1:{ports['rabbitmq']}/",
            "osapi_volume_listen": "127.0.0.1",
            "osapi_volume_listen_port": ports["cinder"],
            "osapi_volume_workers": 1,
            "glance_api_servers": f"http://127.0.0.1:{ports['glance']}",
            "cinder_internal_tenant_project_id": INTERNAL_PROJECT,
            "cinder_internal_tenant_user_id": INTERNAL_USER,
            "quota_volumes": volumes,
            "quota_gigabytes": gigabytes,
            "scheduler_max_attempts": options.scheduler_max_attempts,
            "scheduler_default_weighers": ",".join([*first, *options.scheduler_default_weighers]),
            "backend_stats_polling_interval": int(options.backend_stats_polling_interval),
        },
        "database": {"connection": database(ports)},
        "oslo_concurrency": {"lock_path": folder / "state/locks"},
        # Root needs no sudo, which is Cinder's default.
        "cinder_sys_admin": {
            "helper_command": f"{sys.prefix}/bin/privsep-helper --config-file {folder}/cinder.conf"
        },
        "oslo_messaging_notifications": {"driver": ["messagingv2", "log"]},
        "coordination": {
            "backend_url": f"mysql://lab:lab@127.0.0.1:{ports['mariadb']}/cinder"
            if options.lock_scope == "cloud"
            else "file://$state_path"
        },
    }


def _node(
    folder: Path, scenario: Scenario, node: str, names: list[str], reflinks: bool
) -> dict[str, dict[str, Any]]:
    conversion = folder / "conversion" / node
    default = {"host": node, "enabled_backends": ",".join(names), "image_conversion_dir": conversion}
    default["state_path"] = folder / "state" / node  # a node's lock files are its own
    if any(scenario.backends[name].cluster for name in names):
        default["cluster"] = "cluster"
    sections = {"DEFAULT": default}
    for name in names:
        sections[name] = _backend(folder, name, scenario.backends[name], reflinks)
    return sections


def _backend(folder: Path, name: str, backend: Backend, reflinks: bool) -> dict[str, Any]:
    (pool, limits), *_ = backend.pools.items()
    options: dict[str, Any] = {
        "volume_driver": "lab.driver.ReflinkDriver",
        "volume_backend_name": backend.volume_types[0],
        "lab_folder": folder / "arrays" / name,
        "lab_pool": pool,
        "lab_reflinks": reflinks,
        "lab_max_volumes": limits.max_volumes,
        "lab_busy_deletes": backend.delete_with_clones == "busy",
    }
    for key in ("create_s", "clone_s", "delete_s", "extend_s", "write_mib_s", "convert_mib_s", "clone_mib_s"):
        options[f"lab_{key}"] = getattr(backend, key)
    for key in ("write_streams", "max_clones_per_volume"):
        options[f"lab_{key}"] = getattr(backend, key)
    for key in ("max_over_subscription_ratio", "reserved_percentage", "image_volume_cache_enabled"):
        options[key] = getattr(backend, key)
    for key in ("image_volume_cache_max_size_gb", "image_volume_cache_max_count"):
        options[key] = getattr(backend, key)
    if len(backend.node_names) > 1 and not backend.cluster:
        options["backend_host"] = name
    return options


def _glance(folder: Path, ports: dict[str, int]) -> None:
    paste = (ETC / "glance/glance-api-paste.ini").read_text()
    # Not the context without identity: Glance's policies ask for roles. See glance_server.py.
    paste = paste.replace("unauthenticated-context rootapp", "context rootapp")
    (folder / "glance-api-paste.ini").write_text(paste)
    sections: dict[str, dict[str, Any]] = {
        "DEFAULT": {
            "enabled_backends": "files:file",
            "enabled_import_methods": "[]",
            "node_staging_uri": f"file://{folder}/state/staging",
        },
        "glance_store": {"default_backend": "files"},
        "files": {"filesystem_store_datadir": folder / "images"},
        "database": {"connection": database(ports, "glance")},
        "paste_deploy": {"config_file": folder / "glance-api-paste.ini", "flavor": ""},
        "oslo_concurrency": {"lock_path": folder / "state/glance"},
    }
    write_file(folder / "glance-api.conf", sections)


def write_file(path: Path, sections: dict[str, dict[str, Any]]) -> None:
    """In the form of oslo.config: an option with several values stands there several times."""
    lines = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        for key, value in options.items():
            if value is not None:
                for one in value if isinstance(value, list) else [value]:
                    lines.append(f"{key} = {str(one).lower() if isinstance(one, bool) else one}")
    path.write_text("\n".join(lines) + "\n")
