"""A watch that goes on until it is ended: it reads at every interval, and serves what it knows."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from sqlalchemy import exc

from sim.inputs.problems import BadInput, printable
from sim.live.again import Asking
from sim.live.exposition import Exposition, View
from sim.live.reader import Reader, utc_now
from sim.live.settings import Difference, Settings

LATE = 3  # intervals without a reading after which `up` is 0, however it ends
LEAST_LATE_S = 60.0


@dataclass
class Watch:
    """A reader with its settings, and how its readings went. Times are of a clock that only rises."""

    reader: Reader
    settings: Settings
    interval_s: float
    begun_s: float = field(default_factory=time.monotonic)
    good_s: float | None = None
    read_s: float = 0.0
    errors: int = 0
    failed: str = ""
    asking: Asking | None = None

    def read(self) -> None:
        """Read once. A database that cannot be read is counted, and `failed` says why.

        Raises BadInput if it can be read and is not Cinder's.
        """
        began_s = time.monotonic()
        configuration = self.settings.configuration
        if configuration is not None and configuration.internal_tenant is not None:
            self.reader.state.tenant = configuration.internal_tenant  # it may have changed
        try:
            self.reader.read(utc_now())
        except (exc.SQLAlchemyError, ValueError) as error:
            self.errors += 1
            database = self.reader.database
            reason = database.reason(error) if isinstance(error, exc.SQLAlchemyError) else str(error)
            self.failed = f"{database.shown}: cannot be read: {reason}"
            return
        self.good_s, self.failed = time.monotonic(), ""
        self.read_s = self.good_s - began_s

    def view(self) -> View:
        """Return what the service knows now."""
        behind_s = time.monotonic() - (self.begun_s if self.good_s is None else self.good_s)
        late = behind_s > max(LEAST_LATE_S, LATE * self.interval_s)
        return View(
            state=None if self.good_s is None else self.reader.state,
            settings=self.settings,
            up=self.good_s is not None and not self.failed and not late,
            behind_s=behind_s,
            read_s=self.read_s,
            rows=self.reader.rows,
            errors=self.errors,
            again=None if self.asking is None else self.asking.found,
        )

    def registry(self) -> CollectorRegistry:
        """A registry with the metrics of this watch, and no others."""
        registry = CollectorRegistry()
        registry.register(Exposition(self.view))
        return registry

    def recommended(self) -> list[str]:
        """What the planner recommends, or why it could not."""
        if self.asking is None:
            return []
        found = self.asking.found
        told = [f"recommended: {found.text}"] if found is not None and found.large else []
        return told + ([self.asking.failed] if self.asking.failed else [])

    def drifted(self) -> list[Difference]:
        """The settings that are not as promised."""
        state = None if self.good_s is None else self.reader.state
        return [each for each in self.settings.differences(state) if each.drifted]


def once(watch: Watch) -> str:
    """Read once; the metrics as text. Raises BadInput if the database cannot be read."""
    watch.read()
    if watch.failed:
        raise BadInput([watch.failed])
    if watch.asking is not None:
        watch.asking.wait()
    return generate_latest(watch.registry()).decode()


def serve(watch: Watch, host: str, port: int) -> NoReturn:
    """Serve at a port and read at every interval, until a signal ends the process.

    Raises BadInput if the port cannot be had or the database is not Cinder's.
    """
    try:
        server, _ = start_http_server(port, host, watch.registry())
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput([f"--listen: {host}:{port}: {reason}"]) from None
    shown = f"[{host}]" if ":" in host else host
    _say([f"listening on http://{shown}:{server.server_port}/metrics"])
    told: list[str] = []
    while True:
        began_s = time.monotonic()
        watch.settings.read()
        try:
            watch.read()
        except BadInput as error:
            if watch.good_s is None:
                raise
            watch.errors, watch.failed = watch.errors + 1, "; ".join(error.problems)
        if watch.asking is not None:
            watch.asking.poll()
        now = [*([watch.failed] if watch.failed else []), *watch.settings.problems]
        now += [f"drift: {each}" for each in watch.drifted()] + watch.recommended()
        _say([line for line in now if line not in told])
        _say([f"no longer: {line}" for line in told if line not in now])
        told = now
        time.sleep(max(0.0, began_s + watch.interval_s - time.monotonic()))


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"watch: {printable(line)}", file=sys.stderr, flush=True)
