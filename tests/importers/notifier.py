"""Cinder's own notifier in runs that go without: what it sends, as lines of a file."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import kombu
import oslo_messaging
from cinder import rpc, utils
from cinder.volume import volume_utils
from oslo_config import cfg
from oslo_context import context as oslo_context
from oslo_log.formatters import ContextFormatter
from oslo_messaging.notify.notifier import _notifier_opts

from sim.cinder import engine
from sim.cinder.database import Context
from tests.whole.reference import Run

BUS = "memory:////"  # kombu's, in this process
NOTIFICATIONS = "oslo_messaging_notifications"


@contextmanager
def notifying(driver: str) -> Iterator[Callable[[], list[str]]]:
    """Runs in this context notify through oslo.messaging's `driver`; call what it gives for the lines.

    `messagingv2` and `messaging` put notifications on a bus (kombu's, in memory), with and without an
    envelope; `log` puts them into a log. Runs of engine `cinder` and of the whole of Cinder replace the
    notifier; here they get it back. Engine `cinder` has contexts without ids, and volumes without much that
    notifications of volumes tell, so that it notifies of the cache only.
    """
    conf, logged = cfg.CONF, _Log()
    oslo_messaging.get_notification_transport(conf, url="fake:/")  # registers the options
    conf.register_opts(_notifier_opts, group=NOTIFICATIONS)
    real = [
        (target, name, getattr(target, name))
        for target, name in ((rpc, "get_notifier"), (utils, "notifications_enabled"))
    ]

    def restored(inside: Callable[[Any], None]) -> Callable[[Any], None]:
        """A step of a run, before which the notifier is put back; the run puts it back again at its end."""

        def step(run: Any) -> None:
            for target, name, value in real:
                setattr(target, name, value)
            inside(run)

        return step

    def of_the_cache_only(simulation: engine.Simulation) -> None:
        with patch.object(volume_utils, "notify_about_volume_usage", _nothing):
            run(simulation)

    run = engine.Simulation.run
    conf.set_override("transport_url", f"kombu+{BUS}")
    conf.set_override("driver", [driver], group=NOTIFICATIONS)
    with ExitStack() as stack:
        stack.callback(conf.clear_override, "transport_url")
        stack.callback(conf.clear_override, "driver", group=NOTIFICATIONS)
        stack.callback(rpc.cleanup)
        # The context that another test's run of the whole of Cinder left is none of these runs.
        stack.enter_context(patch.object(oslo_context, "_request_store", threading.local()))
        rpc.init(conf)
        stack.enter_context(patch.object(engine.Simulation, "run", restored(of_the_cache_only)))
        stack.enter_context(patch.object(Run, "build", restored(Run.build)))
        stack.enter_context(patch.object(Context, "redacted_copy", lambda self: self, create=True))
        stack.enter_context(patch.object(Context, "to_dict", lambda self: {}, create=True))
        stack.enter_context(logged)
        yield logged.lines if driver == "log" else _consumed


def _consumed() -> list[str]:
    """All messages on the bus, as a consumer would write them into a file."""
    lines = []
    with kombu.Connection(BUS) as connection:
        for priority in ("info", "error"):
            with connection.SimpleQueue(f"notifications.{priority}") as queue:
                while True:
                    try:
                        message = queue.get(block=False)
                    except queue.Empty:
                        break
                    message.ack()
                    lines.append(json.dumps(message.payload))
    return lines


class _Log(logging.Handler):
    """Lines of a log as oslo.log formats them."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self.setFormatter(ContextFormatter(config=cfg.CONF))

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    def lines(self) -> list[str]:
        return self._lines

    def __enter__(self) -> None:
        logger = logging.getLogger("oslo.messaging.notification")
        self._level = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def __exit__(self, *_: Any) -> None:
        logger = logging.getLogger("oslo.messaging.notification")
        logger.setLevel(self._level)
        logger.removeHandler(self)


def _nothing(*_: Any, **__: Any) -> None:
    """Notifies nobody."""
