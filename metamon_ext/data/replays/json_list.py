"""Stream the elements of a JSON list that may be larger than memory.

Streaming parsers such as ijson stop at the first error. Here each element is returned as text, so
that a corrupt element does not affect the others, and worker processes can parse the elements.
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
    """Whether a text starts like a JSON list."""
    return text.removeprefix(_BOM).lstrip(_BLANK).startswith(b"[")


def list_elements(
    text: bytes, stream: IO[bytes], max_bytes: int, chunk: int = CHUNK
) -> Iterator[bytes | None]:
    """Yield the text of each element, or None for an element larger than `max_bytes`.

    Args:
        text: The start of the list, already read from the stream.
        stream: The rest of the list.
        chunk: How many bytes to read at a time.

    Raises:
        ValueError: The list ends too early, is closed by a brace, or is followed by other data.
            The elements before the error are yielded first.
    """
    text = text.removeprefix(_BOM).lstrip(_BLANK)
    start = at = 1  # the start of the element, and the end of the text parsed so far
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
    raise ValueError("there is data after the list")


def _more(text: bytes, keep: int, at: int, stream: IO[bytes], chunk: int) -> tuple[bytes, int, int]:
    """The text from `keep` on and the next chunk, and the new positions of `keep` and `at`."""
    more = stream.read(chunk)
    if not more:
        raise ValueError("the list ends too early")
    return text[keep:] + more, 0, at - keep


def _next_mark(text: bytes, start: int, in_string: bool) -> tuple[bytes, int]:
    """The next structural byte and the position after it.

    If there is none, an empty byte string and the position up to which the text is parsed.
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
