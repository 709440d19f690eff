"""Reads an offline W&B file back: LevelDB's log framing around protobuf records, checksums verified.

Written against wandb 0.31 (which pyproject pins): its own reader is private and has moved before.
"""

import json
import zlib
from dataclasses import dataclass, field

import wandb
import wandb.proto.wandb_internal_pb2 as proto

IDENT, FILE_HEADER, BLOCK, HEADER = b":W&B", 7, 32 * 1024, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    run: object = None
    config: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    exit_code: int | None = None
    files: list = field(default_factory=list)
    kinds: set = field(default_factory=set)

    def series(self, key):
        return [row[key] for row in self.history if key in row]


def frames(content):
    """The payload of every record; one that spans blocks is put together again."""
    assert content[:4] == IDENT
    at, parts = FILE_HEADER, []
    while at < len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:  # a block's tail too short for a header is padding
            at += left
            continue
        checksum = int.from_bytes(content[at : at + 4], "little")
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        data = content[at + HEADER : at + HEADER + length]
        assert len(data) == length
        assert zlib.crc32(content[at + 6 : at + 7] + data) == checksum
        at += HEADER + length
        assert bool(parts) == (kind in (MIDDLE, LAST))
        parts.append(data)
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []
    assert not parts


def read(path):
    found = OfflineRun()
    for payload in frames(path.read_bytes()):
        record = proto.Record.FromString(payload)
        kind = record.WhichOneof("record_type")
        found.kinds.add(kind)
        if kind == "run":
            found.run = record.run
            _update(found.config, record.run.config.update)
        elif kind == "config":
            _update(found.config, record.config.update)
        elif kind == "summary":
            _update(found.summary, record.summary.update)
        elif kind == "history":
            row = {}
            _update(row, record.history.item)
            found.history.append(row)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
        elif kind == "files":
            found.files += [item.path for item in record.files.files]
    return found


def _update(target, items):
    for item in items:
        target["/".join(item.nested_key) or item.key] = json.loads(item.value_json)


def only_run(folder):
    """The one offline run below a run folder. (W&B's service writes behind `finish`; its end is the file's.)"""
    wandb.teardown()
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return read(path)
