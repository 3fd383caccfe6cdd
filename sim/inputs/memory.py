"""The memory that a workload needs, told before it is spent; and how it goes back."""

from __future__ import annotations

import ctypes
import os

# The most that 2.1 million generated events took, each: while they were drawn, and in a whole run of engine
# `fast` with its results and findings in memory.
HELD_BYTES = 300
RUN_BYTES = 600

LARGE_BYTES = 2**20
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def gib_of(events: float, each_bytes: int) -> float:
    """GiB that so many events need."""
    return events * each_bytes / 2**30


def memory_gib() -> float:
    """GiB of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def shortage(events: float) -> str | None:
    """Why so many events cannot be held in the memory of this machine; None if they can."""
    there, needed = memory_gib(), gib_of(events, HELD_BYTES)
    if needed <= there:
        return None
    return (
        f"about {events:,.0f} events need {needed:,.1f} GiB of memory, and this machine has {there:,.1f} GiB"
    )


def freed_at_once() -> None:
    """Let large arrays go back to the system as soon as they are freed, in this process and those it starts.

    Else what a step has freed stays beside what the next one takes. Only glibc has this; elsewhere nothing
    changes. It must be called before Arrow is imported.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        os.environ["MALLOC_MMAP_THRESHOLD_"] = str(LARGE_BYTES)
        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
