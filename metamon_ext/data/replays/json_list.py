"""The elements of a JSON list, one at a time: a file may hold more of them than fit into memory.

Only the list is looked at, as far as it takes to find where an element ends. The elements are given
as text, so that a damaged one is the fault of one element, and worker processes can parse them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

CHUNK = 2**18
_BLANK = b" \t\n\r"
_BOM = b"\xef\xbb\xbf"
_STRUCTURE = re.compile(rb'["\[\]{},]')


def begins_list(text: bytes) -> bool:
    """Is this the beginning of a JSON list?"""
    return text.removeprefix(_BOM).lstrip(_BLANK).startswith(b"[")


def list_elements(
    text: bytes, stream: IO[bytes], max_bytes: int, chunk: int = CHUNK
) -> Iterator[bytes | None]:
    """The text of each element of a list; None in the place of one larger than `max_bytes`.

    Args:
        text: the beginning of the list, which was read from the stream to recognize it.
        stream: the rest of it.
        chunk: how many bytes are read at a time.

    Raises:
        ValueError: where the list ends too early, is closed by a brace, or something follows it;
            the elements before come first. What the stream raises, it raises.
    """
    text = text.removeprefix(_BOM).lstrip(_BLANK)
    start = at = 1  # where the element begins, and how far the text is understood
    depth = number = 0
    in_string = too_big = False
    while True:
        mark, at = _next_mark(text, at, in_string)
        if not mark:
            too_big = too_big or at - start > max_bytes
            text, start, at = _more(text, at if too_big else start, at, stream, chunk)
        elif mark == b'"':
            in_string = not in_string
        elif mark in b"[{":
            depth += 1
        elif depth and mark in b"]}":
            depth -= 1
        elif not depth:  # a comma, or the end of the list
            element = text[start : at - 1].strip(_BLANK)
            if number or mark == b"," or element or too_big:  # an empty list has no element
                yield None if too_big or len(element) > max_bytes else element
            if mark != b",":
                break
            start, number, too_big = at, number + 1, False
    if mark == b"}":
        raise ValueError("the list is closed by a brace")
    text = text[at:]
    while not text.strip(_BLANK):
        text = stream.read(chunk)
        if not text:
            return
    raise ValueError("something follows the list")


def _more(text: bytes, keep: int, at: int, stream: IO[bytes], chunk: int) -> tuple[bytes, int, int]:
    """The text from `keep` on and what follows it, and where `keep` and `at` are in that."""
    more = stream.read(chunk)
    if not more:
        raise ValueError("the list ends too early")
    return text[keep:] + more, 0, at - keep


def _next_mark(text: bytes, start: int, in_string: bool) -> tuple[bytes, int]:
    """The next byte that opens, closes or separates anything, and where the text behind it begins.

    Nothing where more has to be read, and how far the text is understood without it.
    """
    if not in_string:
        found = _STRUCTURE.search(text, start)
        return (found[0], found.end()) if found else (b"", len(text))
    while True:
        quote = text.find(b'"', start)
        end = quote if quote >= 0 else len(text)
        before = text[start:end]
        escaped = (len(before) - len(before.rstrip(b"\\"))) % 2
        if quote < 0:
            return b"", end - escaped
        if not escaped:
            return b'"', quote + 1
        start = quote + 1
