"""Parts of a W&B run that was logged offline and killed, put into the part that continues it.

Offline, each start of a run makes a folder of its own, and the server takes the last that is
uploaded for the whole run. So what earlier parts hold up to the checkpoint is logged again.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from wandb.proto.wandb_internal_pb2 import (  # type: ignore[attr-defined]  # chosen at import
    HistoryRecord,
    Record,
)

from xrj.errors import DataError
from xrj.files import read_json

_BLOCK, _HEADER = 32768, 7


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what was logged to an offline run, up to where its writer was killed."""
    for path in folder.glob("*.wandb"):
        for record in _records(path.read_bytes()):
            if record.HasField("history"):
                yield _row(record.history)


def _records(data: bytes) -> Iterator[Record]:
    """Yield the records of a LevelDB log: blocks of chunks; a record is one or several of them."""
    position, whole = _HEADER, b""
    while position + _HEADER <= len(data):
        if (left := _BLOCK - position % _BLOCK) < _HEADER:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + _HEADER])
        position += _HEADER + length
        whole += data[position - length : position]
        if kind in (1, 4):  # a whole record, or the last chunk of one
            try:
                yield Record.FromString(whole)
            except DecodeError:
                return
            whole = b""


def _row(history: HistoryRecord) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for item in history.item:
        *path, last = list(item.nested_key) or [item.key]
        node = row
        for key in path:
            node = node.setdefault(key, {})
        node[last] = json.loads(item.value_json)
    return row


def until(rows: Iterable[dict[str, Any]], epoch: int) -> Iterator[dict[str, Any]]:
    """Yield the rows up to the end of an epoch; pictures come before the measures of theirs."""
    waiting: list[dict[str, Any]] = []
    for row in rows:
        waiting.append(row)
        if "epoch" in row:
            if row["epoch"] <= epoch:
                yield from waiting
            waiting = []


def log_again(run: wandb.Run, parts: Iterable[Path], epoch: int) -> None:
    """Log to a run what its earlier parts hold up to the end of an epoch, each row once.

    A start that was killed in the middle of this has left rows twice.
    """
    logged: set[tuple[Any, ...]] = set()
    for part in sorted(parts):
        for row in until(read_rows(part), epoch):
            name = (row.get("trainer/global_step"), *sorted(row))
            if name not in logged:
                logged.add(name)
                run.log(dict(_values(row, part / "files")))


def _values(row: Mapping[str, Any], files: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a row held but for W&B's own; media, too, unless the kill came before its file."""
    for key, value in row.items():
        if key == "_timestamp" or not key.startswith("_"):
            with suppress(DataError, OSError, ValueError):
                yield key, _media(value, files)


def _media(value: Any, files: Path) -> Any:
    """Return what was logged as a value: pictures and tables again as such, from their files."""
    kind = value.get("_type") if isinstance(value, dict) else None
    if kind == "images/separated":
        captions = value.get("captions") or [None] * len(value["filenames"])
        paths = zip(value["filenames"], captions, strict=True)
        return [wandb.Image(str(files / path), caption=caption) for path, caption in paths]
    if kind == "table-file":
        table = read_json(files / value["path"])
        return wandb.Table(columns=table["columns"], data=table["data"])
    return value
