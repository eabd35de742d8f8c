"""Files of traces, read piece by piece: a piece is one document, with the line where it begins.

Names end in .jsonl or .ndjson (a document on each line) or .json (one document, or a list of them), each also with .gz.
A folder is a Minari dataset, its episodes numbered from 0 as in a list.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

import orjson

from somabrain.errors import SomabrainError, TraceFormatUnknownError, TraceNotJsonError, TraceTooLargeError
from somabrain.traces.model import Json

LINE_BYTES_MAX = 32 << 20
"""Longest line of a file of lines, and longest document in a list: what the service takes in one request."""
FILE_BYTES_MAX = 256 << 20
"""Largest .json file, unpacked: it is read whole."""

LINES, WHOLE, PACKED = (".jsonl", ".ndjson"), ".json", ".gz"

Stream = BufferedReader | gzip.GzipFile

_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
"""What parts the documents of a list; a quote of its own begins a text that has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A document, or why there is none, at a line from 1 (0: the file). `read`: bytes of the file behind it.

    `item`: its number from 0 in a list, `None` where it stands by itself.
    """

    line: int
    read: int
    size: int
    document: Json
    refusal: SomabrainError | None = None
    item: int | None = None


def pieces(path: Path) -> Iterator[Piece]:
    """The pieces of a file in order, holding one of them, or a .json file, in memory. Never raises for what it holds.

    A file that ends early or is not what its name says ends with a refusal, after what could be read.
    """
    if path.is_dir():
        yield from _dataset(path)
        return
    name = path.name.lower().removesuffix(PACKED)
    if not name.endswith((*LINES, WHOLE)):
        known = ", ".join((*LINES, WHOLE))
        error = TraceFormatUnknownError(f"want a name that ends in {known}, each also with {PACKED}")
        yield Piece(line=0, read=0, size=0, document=None, refusal=error)
        return
    line = 0
    try:
        with _opened(path) as (raw, stream):
            for piece in _lines(raw, stream) if name.endswith(LINES) else _whole(raw, stream):
                line = piece.line
                yield piece
    except OSError as error:
        refusal = TraceNotJsonError(f"can't be read on: {error.strerror or error}")
        yield Piece(line=line, read=0, size=0, document=None, refusal=refusal)
    except (EOFError, zlib.error) as error:
        refusal = TraceNotJsonError(f"the packed file is damaged, what follows is lost: {error}")
        yield Piece(line=line, read=0, size=0, document=None, refusal=refusal)


def _dataset(path: Path) -> Iterator[Piece]:
    try:
        from somabrain.adapters.minari import dataset_in, documents  # noqa: PLC0415  an extra

        for number, document in enumerate(documents(dataset_in(path))):
            yield Piece(line=0, read=0, size=0, document=document, item=number)
    except ModuleNotFoundError as error:
        refusal = TraceFormatUnknownError(f"a folder is read by Minari: pip install 'somabrain[minari]' ({error.name})")
        yield Piece(line=0, read=0, size=0, document=None, refusal=refusal)
    except (ValueError, OSError, KeyError) as error:
        refusal = TraceFormatUnknownError(str(error))
        yield Piece(line=0, read=0, size=0, document=None, refusal=refusal)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, Stream]]:
    """The file as it is, and unpacked."""
    with path.open("rb") as raw:
        if path.name.lower().endswith(PACKED):
            with gzip.open(raw) as stream:
                yield raw, stream
        else:
            yield raw, raw


def _lines(raw: BufferedReader, stream: Stream) -> Iterator[Piece]:
    number = 0
    while line := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = stream.readline(_BLOCK)
            yield _too_large(number, raw.tell(), f"a line of more than {LINE_BYTES_MAX} bytes")
        elif line.removeprefix(_BOM).strip():
            yield _piece(line.removeprefix(_BOM), number, raw.tell())


def _whole(raw: BufferedReader, stream: Stream) -> Iterator[Piece]:
    content = stream.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        message = f"more than {FILE_BYTES_MAX} bytes; write a document on each line of a {LINES[0]} file"
        yield _too_large(0, raw.tell(), message)
        return
    line, end = 1, 0
    for item, start, part in split(content.removeprefix(_BOM)):
        line, end = line + content.count(b"\n", end, start), start
        if item is not None and len(part) > LINE_BYTES_MAX:
            piece = _too_large(line, raw.tell(), f"a document of more than {LINE_BYTES_MAX} bytes")
        else:
            piece = _piece(part, line, raw.tell())
        yield replace(piece, item=item)


def split(content: bytes) -> Iterator[tuple[int | None, int, bytes]]:
    """The documents of a JSON text, each with its number and place: those of a list, unless it is one of chat messages.

    Parted by brackets and commas alone, so that a document that is not JSON does not hide those after it. A list that
    has no end ends with an empty document.
    """
    start = len(content) - len(content.lstrip())
    if content[start : start + 1] != b"[":
        yield None, start, content[start:]
        return
    depth, begin, item, whole = 0, start + 1, 0, True
    for token in _TOKEN.finditer(content, start):
        sign = token[0][:1] if len(token[0]) == 1 else b""
        depth += (sign in {b"[", b"{"}) - (sign in {b"]", b"}"})
        whole = sign != b'"'
        if not whole:
            break
        if (sign == b"," and depth == 1) or depth == 0:
            part = content[begin : token.start()]
            if item == 0 and (not part.strip() or _is_message(part)):
                yield None, start, content[start:]
                return
            yield item, begin + len(part) - len(part.lstrip()), part
            begin, item = token.end(), item + 1
            if depth == 0:
                break
    if content[begin:].strip():
        yield item, begin, content[begin:]
        item += 1
    if depth > 0 and whole:
        yield item, len(content), b""


def _is_message(part: bytes) -> bool:
    try:
        document = orjson.loads(part)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and "role" in document


def _piece(text: bytes, line: int, read: int) -> Piece:
    try:
        return Piece(line=line, read=read, size=len(text), document=orjson.loads(text))
    except orjson.JSONDecodeError as error:
        refusal = TraceNotJsonError(str(error) if text.strip() else "the file ends before its end")
        return Piece(line=line, read=read, size=len(text), document=None, refusal=refusal)


def _too_large(line: int, read: int, message: str) -> Piece:
    return Piece(line=line, read=read, size=0, document=None, refusal=TraceTooLargeError(message))
