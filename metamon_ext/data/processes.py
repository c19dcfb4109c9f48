"""An ordered parallel map over more items than fit in memory."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any, TypeVar

from metamon_ext.errors import RunStopped

T = TypeVar("T")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[T], Result],
    items: Iterable[T],
    workers: int = 1,
    chunk: int = 32,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    force_processes: bool = False,
) -> Iterator[Result]:
    """`map(function, items)` on several processes, with bounded memory.

    The executors of Python and joblib either read all items at once or keep all results that are
    not consumed yet. This map takes only a few chunks of items ahead of the consumer.

    Args:
        workers: With one worker, or less than a chunk of items, everything runs in this process.
        chunk: How many items a process takes at a time.
        initializer: Runs once in each process, with `initargs`.
        force_processes: Never run `function` in this process.

    Raises:
        RunStopped: A process died.
    """
    items = iter(items)
    head = list(islice(items, chunk))
    if not head:
        return
    items = chain(head, items)
    if not force_processes and (workers <= 1 or len(head) < chunk):
        if initializer is not None:
            initializer(*initargs)
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (initializer, initargs))
    waiting: deque[Future[list[Result]]] = deque()
    try:
        while batch := list(islice(items, chunk)):
            waiting.append(pool.submit(_map, function, batch))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise RunStopped(
            "A worker process died, perhaps out of memory. Run the command again with one worker."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with_parent() -> None:
    """End this worker when its parent is killed. Otherwise it would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _map(function: Callable[[T], Result], batch: list[T]) -> list[Result]:
    return list(map(function, batch))
