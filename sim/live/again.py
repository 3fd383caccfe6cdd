"""Asks a planner from time to time whether other limits would be much better, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any

MOST_REASONS = 3
LOWEST = 19  # priority


@dataclass(frozen=True)
class Recommendation:
    """What a planner found (`sim.planner.again`). `backends`: the limits by Cinder's names, if they are
    `large`: much better than those in force."""

    at: datetime
    large: bool
    saves_month: float
    backends: Mapping[str, Mapping[str, Any]]
    text: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Recommendation:
        """What a planner's document says."""
        large = bool(document["large"])
        text = ""
        if large:
            low, high = document["saves_month_low"], document["saves_month_high"]
            saved = f"{document['saves_month']:,.0f} ({low:,.0f} to {high:,.0f})"
            why = "; ".join(document["why"][:MOST_REASONS]) or "the limits in force do not fit the load"
            text = f"{document['action']}; it saves {saved} of {document['costs_month']:,.0f} a month: {why}"
        at, saves = datetime.fromisoformat(document["at"]), document.get("saves_month", 0.0)
        return cls(at, large, saves, document["backends"] if large else {}, text)


@dataclass
class Asking:
    """Asks `command` every `every_s` seconds, with a line of JSON on its stdin, and keeps its last answer.

    The child has the lowest priority, and ends when its stdin is closed. The first time is at once. `failed`:
    why the last answer is none.
    """

    command: Sequence[str]
    question: Mapping[str, Any]
    every_s: float
    found: Recommendation | None = None
    failed: str = ""
    _child: subprocess.Popen[bytes] | None = None
    _answer: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    _asked_s: float | None = None

    def poll(self) -> None:
        """Take the answer if there is one, and ask if it is time."""
        if self._child is not None and self._child.poll() is not None:
            self._take(self._child)
            self._child = None
        now_s = time.monotonic()
        if self._child is None and (self._asked_s is None or now_s - self._asked_s >= self.every_s):
            self._asked_s = now_s
            self._ask()

    def wait(self) -> None:
        """Ask once, and take the answer."""
        self._ask()
        if self._child is not None:
            self._child.wait()
            self._take(self._child)
            self._child = None

    def _ask(self) -> None:
        self._answer.seek(0)
        self._answer.truncate()
        try:
            self._child = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=self._answer, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            self.failed = f"no recommendation: no process for the planner: {error.strerror}"
            return
        assert self._child.stdin is not None
        # It may have ended already, and then its answer says so. The pipe stays open, and is closed when this
        # process ends, however it ends.
        with contextlib.suppress(ProcessLookupError, BrokenPipeError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, LOWEST)
            self._child.stdin.write(json.dumps(self.question).encode() + b"\n")
            self._child.stdin.flush()

    def _take(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        self._answer.seek(0)
        try:
            document = json.loads(self._answer.read())
            if "problems" in document:
                self.failed = f"no recommendation: {'; '.join(document['problems'])}"
            else:
                self.found, self.failed = Recommendation.of(document), ""
        except (ValueError, KeyError, TypeError):
            self.failed = f"no recommendation: the planner ended with {child.returncode}"
