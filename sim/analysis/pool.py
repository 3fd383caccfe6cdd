"""Runs a function on several processes that leave Ctrl-C to the process that began them."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterable
from multiprocessing import resource_tracker
from typing import Any

import joblib
from joblib.externals.loky.backend import resource_tracker as loky_tracker


def results(
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    ordered: bool = False,
    at_once: int = 1,
) -> Generator[Any]:
    """The results of a function, each as soon as it is there (and, if `ordered`, its turn).

    A process gets `at_once` calls in one message, and tells their results in one. The caller chooses the
    processes with `joblib.parallel_config`. If it closes the generator, they end.
    """
    kind = "generator" if ordered else "generator_unordered"
    parallel = joblib.Parallel(return_as=kind, batch_size=at_once)
    jobs = (joblib.delayed(function)(*each) for each in arguments)
    # A terminal sends Ctrl-C to all its processes. Those that are started here block it from their first
    # moment: each would end with a traceback of its own. The trackers would unblock it, were they not there.
    _start_trackers()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        generator = parallel(jobs)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    until_closed = _until_closed(generator)
    next(until_closed)  # what has not begun, nobody can close
    return until_closed


def _until_closed(generator: Generator[Any]) -> Generator[Any]:
    try:
        yield
        for result in generator:  # noqa: UP028  it would close the generator with its warning
            yield result
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib warns that some results are not asked for
            generator.close()


def _start_trackers() -> None:
    """Start the processes that clean up after workers. They do not warn of what they clean after Ctrl-C."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = f"{before},ignore" if before else "ignore"
    try:
        loky_tracker.ensure_running()
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before
