"""Runs a function on several processes that leave Ctrl-C to the process that began them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import joblib
from joblib.externals.loky.backend import resource_tracker


def results(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], ordered: bool = False
) -> Iterator[Any]:
    """The results of a function, each as soon as it is there (and, if `ordered`, its turn).

    The caller chooses the processes with `joblib.parallel_config`.
    """
    parallel = joblib.Parallel(return_as="generator" if ordered else "generator_unordered")
    jobs = (joblib.delayed(function)(*each) for each in arguments)
    # A terminal sends Ctrl-C to all its processes. Those that are started here block it from their first
    # moment: each would end with a traceback of its own. loky's tracker would unblock it, were it not there.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        generator = parallel(jobs)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return iter(generator)
