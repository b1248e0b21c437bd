"""The product's settings for a server that counts its database statements in the file named by BENCHMARK_COUNTER."""

import mmap
import os
import struct
import threading
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from chatsite.settings import *  # noqa: F403

_lock = threading.Lock()
_COUNT = struct.Struct("Q")
with open(os.environ["BENCHMARK_COUNTER"], "r+b") as _file:  # noqa: PTH123
    _memory = mmap.mmap(_file.fileno(), _COUNT.size)


def _count(execute: Callable[..., Any], *arguments: Any) -> Any:
    with _lock:
        [count] = _COUNT.unpack_from(_memory)
        _COUNT.pack_into(_memory, 0, count + 1)
    return execute(*arguments)


def _begin(connection: BaseDatabaseWrapper, **_: object) -> None:
    if _count not in connection.execute_wrappers:
        connection.execute_wrappers.append(_count)


connection_created.connect(_begin)
