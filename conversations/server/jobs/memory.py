"""Keep memory small: one heap for all threads, and free memory is returned to the system after a burst of long answers.

Otherwise, the C library's allocator keeps most of what the longest texts needed, and cycles that hold large strings can
survive for hours, because the number of objects triggers a full collection, not their size.
"""

import asyncio
import contextvars
import ctypes
import gc

INTERVAL_SECONDS = 30.0

# From glibc's malloc.h.
_M_ARENA_MAX = -8


def use_one_heap() -> None:
    """Make all threads share one heap, if the C library supports it (glibc does). Call this before there are threads.

    By default, each thread gets heaps of its own, which keep what other threads could use. Sharing costs no time, because
    Python's threads rarely allocate at the same moment.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def freeze() -> None:
    """Exempt all objects that exist now from garbage collection. Call this once, when everything is imported.

    A full collection then takes a few milliseconds instead of hundreds.
    """
    gc.collect()
    gc.freeze()


def release() -> None:
    """Collect garbage and return free memory to the system, if the C library supports it (glibc does)."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


async def _run() -> None:
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        await asyncio.to_thread(release)


def start() -> "asyncio.Task[None]":
    """Release memory regularly in the running event loop. Return the task, which the caller must keep."""
    return asyncio.get_running_loop().create_task(_run(), context=contextvars.Context())
