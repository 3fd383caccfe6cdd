"""Puts the simulated parts into Cinder's modules, for the time of one run.

All replacements in Cinder's modules are listed here and undone when the run ends: two runs in one process
give the results of two processes.
"""

from __future__ import annotations

import gc
import inspect
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

import cinder.context
import decorator
import tenacity
from castellan import key_manager
from cinder import coordination, objects, quota, rpc, utils
from cinder.image import glance as cinder_glance
from cinder.image import image_utils
from cinder.message import api as message_api
from cinder.scheduler import driver as scheduler_driver
from cinder.scheduler import filter_scheduler, weights
from cinder.scheduler import manager as scheduler_manager
from cinder.scheduler.evaluator import evaluator
from cinder.scheduler.filters import affinity_filter
from cinder.scheduler.weights import capacity, chance, stochastic, volume_number  # noqa: F401 registers options
from cinder.volume import api, manager, volume_types, volume_utils
from cinder.volume.flows.api import create_volume
from cinder.volume.flows.manager import create_volume as manager_flow
from oslo_config import cfg
from oslo_log.log import KeywordArgumentAdapter
from oslo_utils import excutils, netutils, timeutils, uuidutils
from taskflow.types import failure

from sim.cinder.clock import Clock
from sim.cinder.database import INTERNAL_PROJECT, INTERNAL_USER, Context, Database, VolumeClass
from sim.cinder.glance import Glance
from sim.cinder.keys import KeyManager
from sim.cinder.locks import Coordinator, Lock
from sim.cinder.quotas import Quotas
from sim.cinder.release import called_by_name
from sim.cinder.scheduler import CloneWeigher, ServiceList
from sim.cinder.snapshots import Snapshot
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import Strategy
from sim.model.lottery import LOCKS, SCHEDULER, numbers

T = TypeVar("T")


@contextmanager
def installed(
    case: Case,
    strategy: Strategy,
    clock: Clock,
    db: Database,
    quotas: Quotas,
    glance: Glance,
    volume_rpcapi: Any,
    cinder_log: bool,
) -> Iterator[None]:
    """Inside this context, Cinder's modules work in simulated time, on simulated parts."""
    scenario = case.scenario
    by_node, by_chance = scenario.cinder.lock_scope == "node", scenario.cinder.lock_order == "chance"
    coordinator = Coordinator(clock, by_node, numbers(case, LOCKS) if by_chance else None)
    drawn = SimpleNamespace(random=numbers(case, SCHEDULER))
    own = volume_number.db.volume_data_get_for_host
    number_of_volumes = called_by_name(db.volume_data_get_for_host, own)
    notifier = SimpleNamespace(info=_nothing, error=_nothing)
    keys = KeyManager()
    with ExitStack() as stack:
        stack.enter_context(_options(scenario, strategy))
        stack.enter_context(_log(cinder_log))
        stack.enter_context(_garbage())
        for target, name, value in (
            (timeutils, "utcnow", clock.utcnow),
            (tenacity.nap, "sleep", clock.sleep),
            (coordination.COORDINATOR, "coordinator", coordinator),
            (cinder.context, "RequestContext", _contexts()),
            (objects, "Volume", VolumeClass(db)),
            (objects, "ServiceList", ServiceList(scenario.backends)),
            (objects, "RequestSpec", lambda **values: values),  # of a snapshot: the real one wants UUIDs
            (objects, "Snapshot", lambda context=None, **values: Snapshot(db, **values)),
            # Cinder negates the filter and passes it to `conditional_update`, which looks for snapshots.
            (api.db, "volume_has_snapshots_filter", lambda: 0),
            (volume_number.db, "volume_data_get_for_host", number_of_volumes),
            (stochastic, "random", drawn),
            (chance, "random", drawn),
            # Filters by hints would make an API to ask about the volumes that a hint names.
            (affinity_filter, "volume", SimpleNamespace(API=_nothing)),
            (evaluator, "evaluate", _evaluate),
            (quota, "db", quotas.tables),
            (api, "QUOTAS", quotas),
            (create_volume, "QUOTAS", quotas),
            (manager, "QUOTAS", quotas),
            (scheduler_manager, "QUOTAS", quotas),
            (scheduler_manager.db, "volume_update", db.volume_update),
            (volume_types.db, "volume_type_get", db.volume_type_get),
            (rpc, "get_notifier", lambda *_, **__: notifier),
            (utils, "notifications_enabled", lambda _: False),
            (volume_utils, "notify_about_volume_usage", _nothing),
            (message_api, "API", lambda: SimpleNamespace(create=_nothing)),
            (scheduler_driver.volume_rpcapi, "VolumeAPI", lambda: volume_rpcapi),
            (cinder_glance, "get_remote_image_service", glance.remote_service),
            (image_utils, "temporary_file", glance.temporary_file),
            (image_utils, "fetch_verify_image", glance.fetch_verify_image),
            (image_utils, "qemu_img_info", glance.qemu_img_info),
            (image_utils, "check_available_space", glance.directories.check_available_space),
            (image_utils, _DISK_USAGE, SimpleNamespace(disk_usage=glance.directories.disk_usage)),
            (image_utils, "os", SimpleNamespace(path=SimpleNamespace(isdir=lambda _: True))),
            (manager_flow, "fileutils", SimpleNamespace(ensure_tree=_nothing)),
            (key_manager, "API", lambda *_: keys),
            (volume_types.db, "volume_type_encryption_get", db.volume_type_encryption_get),
            (volume_utils.db, "volume_encryption_metadata_get", db.volume_encryption_metadata_get),
            (volume_utils, "brick_get_connector_properties", lambda *_: {}),
            (utils, "execute", lambda *_, **__: ("", "")),  # cryptsetup
            # Lock files on a node's disk.
            (utils, "clean_volume_file_locks", _nothing),
            (utils, "api_clean_volume_file_locks", _nothing),
            (utils, "clean_snapshot_file_locks", _nothing),
            # The same results without the cost at every call, which is half of a create.
            (decorator, "fix", _fix),
            (coordination, "inspect", SimpleNamespace(getcallargs=_getcallargs)),
            (manager_flow.CreateVolumeFromSpecTask, "_create_from_image", _create_from_image),
            (tenacity, "Retrying", _Retrying),
            *((tenacity, name, cache(getattr(tenacity, name))) for name in _OPTIONS),
            (volume_utils, "extract_host", cache(volume_utils.extract_host)),
            (manager_flow, "netutils", SimpleNamespace(urlsplit=_urlsplit)),
            (filter_scheduler, "jsonutils", SimpleNamespace(to_primitive=_to_primitive)),
            (manager_flow, "uuidutils", SimpleNamespace(is_uuid_like=_is_uuid_like)),
            (manager_flow, "_", cache(manager_flow._)),  # translated anew for every create
        ):
            stack.enter_context(patch.object(target, name, value))
        yield


@contextmanager
def _options(scenario: Scenario, strategy: Strategy) -> Iterator[None]:
    conf = cfg.CONF
    options = {
        "host": "simulated",
        "no_snapshot_gb_quota": True,  # quotas of snapshots are not simulated
        "allowed_direct_url_schemes": list(strategy.allowed_direct_url_schemes),
        "cinder_internal_tenant_project_id": INTERNAL_PROJECT,
        "cinder_internal_tenant_user_id": INTERNAL_USER,
        "default_availability_zone": scenario.cinder.default_availability_zone,
        "scheduler_max_attempts": scenario.cinder.scheduler_max_attempts,
        "image_conversion_disable": scenario.cinder.image_conversion_disable,
        **_weighing(scenario),
    }
    for name, value in options.items():
        conf.set_override(name, value)
    known = set(vars(conf))
    try:
        with patch.object(cfg.ConfigOpts, "__getattr__", _option):
            yield
    finally:
        for name in vars(conf).keys() - known:
            delattr(conf, name)
        for name in options:
            conf.clear_override(name)


def _weighing(scenario: Scenario) -> dict[str, Any]:
    """The options of the scheduler's filters and weighers; the what-if's weigher comes first."""
    cinder = scenario.cinder
    first = [CloneWeigher.__name__] if scenario.what_if.prefer_clones else []
    modules = {"OrderedHostWeightHandler": weights, "StochasticHostWeightHandler": stochastic}
    handler = cinder.scheduler_weight_handler
    return {
        "scheduler_default_filters": list(cinder.scheduler_default_filters),
        "scheduler_default_weighers": [*first, *cinder.scheduler_default_weighers],
        "scheduler_weight_handler": f"{modules[handler].__name__}.{handler}",
        "capacity_weight_multiplier": cinder.capacity_weight_multiplier,
        "allocated_capacity_weight_multiplier": cinder.allocated_capacity_weight_multiplier,
        "volume_number_multiplier": cinder.volume_number_multiplier,
    }


@contextmanager
def _log(wanted: bool) -> Iterator[None]:
    """Cinder's log, if wanted; otherwise not even its errors, which a run counts as results.

    Where no log tells of tracebacks, they need no text. To make it takes longer than the rest of a failure.
    Nor are the waits for locks measured.
    """
    with ExitStack() as stack:
        if not wanted:
            for method in ("debug", "info", "warning", "error", "exception"):
                for logs in (KeywordArgumentAdapter, excutils.LOG):
                    stack.enter_context(patch.object(logs, method, _nothing))
            stack.enter_context(patch.object(coordination, "__acquire", Lock.acquire))
            stack.enter_context(patch.object(coordination, "__release", Lock.release))
            no_lines = SimpleNamespace(format_tb=lambda *_: [], format_exception=lambda *_: [])
            for module in (failure, manager_flow):
                stack.enter_context(patch.object(module, "traceback", no_lines))
        yield


@contextmanager
def _garbage() -> Iterator[None]:
    """Fewer garbage collections: millions of objects live long, and few short-lived ones are in cycles.

    At its end, what a run leaves in cycles is among what lives long, where Python does not look by itself. So
    now and then a run begins with a collection of what those before it have left.
    """
    global _uncollected_s
    if _uncollected_s > COLLECTED_AFTER_S:
        gc.collect()
        _uncollected_s = 0.0
    began_s, thresholds = time.process_time(), gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        _uncollected_s += time.process_time() - began_s


def _option(conf: cfg.ConfigOpts, name: str) -> Any:
    """`ConfigOpts.__getattr__`: no option changes in a run, and one that was read is an attribute."""
    value = _config_getattr(conf, name)
    if conf is cfg.CONF:
        vars(conf)[name] = value
    return value


def _contexts() -> Callable[..., Context]:
    """`RequestContext`: its own one is the same each time, which Cinder makes for every image-volume."""
    made = cache(Context)

    def of(user_id: str = "", project_id: str = "", is_admin: bool = False, **_: Any) -> Context:
        return made(user_id, project_id, is_admin)

    return of


def _evaluate(expression: str, **values: Any) -> Any:
    """`evaluator.evaluate`. A warning of pyparsing must not count as an error in a filter_function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return _evaluator_evaluate(expression, **values)


def _fix(
    args: tuple[Any, ...], kwargs: dict[str, Any], signature: inspect.Signature
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`decorator.fix`: arguments in the signature's order, with defaults."""
    if not kwargs and len(args) == len(signature.parameters):
        return args, kwargs
    return _decorator_fix(args, kwargs, signature)


def _getcallargs(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """`inspect.getcallargs`: arguments by name."""
    names = _parameters(function)
    if kwargs or len(args) != len(names):
        return inspect.getcallargs(function, *args, **kwargs)
    return dict(zip(names, args))  # noqa: B905 as many names as arguments


@cache
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters' names, or none unless each takes one argument by position."""
    parameters = inspect.signature(function, follow_wrapped=False).parameters
    plain = all(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters.values())
    return tuple(parameters) if plain else ()


def _to_primitive(value: Any) -> Any:
    """`jsonutils.to_primitive`, which asks some twenty questions about each part of a request."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if kind is dict:
        return {
            key if type(key) is str else _to_primitive(key): each
            if type(each) in _SIMPLE
            else _to_primitive(each)
            for key, each in value.items()
        }
    if kind is list:
        return [_to_primitive(each) for each in value]
    return _jsonutils_to_primitive(value)


def _tried_once(function: Callable[..., T]) -> Callable[..., T]:
    """What `utils.retry` wraps, if it tries once alone and so does nothing; else the function itself.

    Another Cinder may have other decorators there: none of them goes.
    """
    held = inspect.getclosurevars(function).nonlocals
    return held["f"] if held.get("retries") == 1 else function


class _Retrying:
    """`tenacity.Retrying`, made only if the first attempt fails with an exception that may be retried."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def __call__(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            retry = self._options.get("retry")
            if isinstance(retry, tenacity.retry_if_exception) and not retry.predicate(error):
                raise
            failed = [error]

        def attempt(*args: Any, **kwargs: Any) -> T:
            if failed:
                raise failed.pop()
            return fn(*args, **kwargs)

        result: T = _tenacity_retrying(**self._options)(attempt, *args, **kwargs)
        return result


COLLECTED_AFTER_S = 1.0  # seconds of runs: a collection takes some hundredths of that
_uncollected_s = 0.0
_SIMPLE = frozenset({str, int, float, bool, type(None)})
_OPTIONS = "before_sleep_log", "after_log", "stop_after_attempt"  # of a retry, without a state
_urlsplit = lru_cache(4096)(netutils.urlsplit)
_is_uuid_like = lru_cache(4096)(uuidutils.is_uuid_like)
_jsonutils_to_primitive = filter_scheduler.jsonutils.to_primitive
_decorator_fix = decorator.fix
_tenacity_retrying = tenacity.Retrying
_create_from_image = _tried_once(manager_flow.CreateVolumeFromSpecTask._create_from_image)
_config_getattr = cfg.ConfigOpts.__getattr__
_evaluator_evaluate = evaluator.evaluate
# The module with `disk_usage`, of which Cinder before 25 has its own.
_DISK_USAGE = "shutil" if hasattr(image_utils, "shutil") else "psutil"
_nothing: Callable[..., None] = lambda *_, **__: None  # noqa: E731
