"""A function on all cores, over more items than fit in memory."""

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
    apart: bool = False,
) -> Iterator[Result]:
    """`map(function, items)` in `workers` processes, which take `chunk` items at a time.

    The results come in the order of the items, of which only a few chunks are taken ahead. No
    process is started for less than a chunk, nor for one worker, unless `function` is to be kept
    `apart` from this process. `initializer(*initargs)` runs once in each process. Raises
    RunStopped when a process dies.
    """
    items = iter(items)
    head = list(islice(items, chunk))
    if not head:
        return
    if not apart and (workers <= 1 or len(head) < chunk):
        if initializer is not None:
            initializer(*initargs)
        yield from map(function, chain(head, items))
        return
    items = chain(head, items)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (initializer, initargs))
    waiting: deque[Future[list[Result]]] = deque()
    try:
        while batch := list(islice(items, chunk)):
            waiting.append(pool.submit(_each, function, batch))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise RunStopped(
            "a worker died, perhaps for memory: run it again with one worker"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with_parent() -> None:
    """A process that is killed cannot end its workers, which would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _each(function: Callable[[T], Result], batch: list[T]) -> list[Result]:
    return list(map(function, batch))
