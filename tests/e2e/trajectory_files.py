"""Trajectory logs by the tables of docs/formats.md, written and read without the program's code."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

TYPES = ["open", "attach", "intent", "result", "checkpoint", "pause", "resume", "fork", "network",
         "event", "seal"]


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        rest = byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
        table.append(rest)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    rest = 0xFFFFFFFF
    for byte in data:
        rest = rest >> 8 ^ _TABLE[(rest ^ byte) & 255]
    return rest ^ 0xFFFFFFFF


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def trajectory_id(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


class LogFile:
    """One segment in the making."""

    def __init__(self, name: str, first_seq: int = 1, previous: bytes = bytes(32)) -> None:
        header = b"BTRJ0001" + trajectory_id(name) + struct.pack("<QQQ", 10**18, first_seq, 0)
        header += bytes(12)
        self.data = header + struct.pack("<I", crc32c(header))
        self.seq = first_seq
        self.previous = previous

    def add(self, kind: str, payload: dict[str, Any], op: int = 0) -> int:
        body = struct.pack("<QQBBHI", self.seq, 10**18 + self.seq * 10**9, TYPES.index(kind) + 1, 1,
                           0, self.seq - op if op else 0)
        body += self.previous + canonical(payload)
        record = struct.pack("<II", len(body) - 56, crc32c(body)) + body
        self.data += record
        self.previous = hashlib.sha256(record).digest()
        self.seq += 1
        return self.seq - 1

    def intent(self, request: dict[str, Any], index: int, epoch: int = 0) -> int:
        return self.add("intent", {"digest": hashlib.sha256(canonical(request)).hexdigest(),
                                   "effects": "sandbox", "epoch": epoch, "index": index,
                                   "request": request, "stream": "main"})


def write_blob(state: Path, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    path = state / "blobs/sha256" / digest[:2] / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"blob": digest, "size": len(data)}


def write_state(state: Path, name: str = "swe-1/sample-7") -> Path:
    """A state folder with one trajectory of two segments and a blob: the trajectory's folder."""
    folder = state / "trajectories" / trajectory_id(name).hex()
    folder.mkdir(parents=True)
    first = LogFile(name)
    first.add("open", {"created_ns": 10**18, "labels": {"job": "7"}, "policy": "rewind",
                       "sandbox": "n1-1-1-abc", "trajectory": name})
    op = first.intent({"kind": "exec", "shell": "echo 'h\u00e9llo'\n"}, 0)
    first.add("result", {"duration_ns": 1500000000, "exit_code": 0,
                         "stderr": write_blob(state, b"e" * 5000),
                         "stdout": {"text": "h\u00e9llo\n"}}, op)
    (folder / "seg-00000001.log").write_bytes(first.data)
    second = LogFile(name, first.seq, first.previous)
    second.add("attach", {"epoch": 1, "from": "trainer"})
    second.intent({"argv": ["make", "-j2"], "kind": "exec"}, 1, epoch=1)
    second.add("event", {"denied": ["10.0.0.1"]})
    (folder / "seg-00000002.log").write_bytes(second.data)
    return folder


def read_segment(data: bytes) -> list[dict[str, Any]]:
    """The records of a segment; an assertion fails where a byte is not as it must be."""
    assert data[:8] == b"BTRJ0001" and data[40:60] == bytes(20)
    assert struct.unpack_from("<I", data, 60)[0] == crc32c(data[:60])
    records = []
    at = 64
    while at < len(data):
        length, crc = struct.unpack_from("<II", data, at)
        seq, time_ns, kind, version, reserved, distance = struct.unpack_from("<QQBBHI", data, at + 8)
        record = data[at:at + 64 + length]
        assert len(record) == 64 + length and crc == crc32c(record[8:])
        assert version == 1 and reserved == 0
        records.append({"seq": seq, "time_ns": time_ns, "type": TYPES[kind - 1],
                        "distance": distance, "previous": record[32:64],
                        "hash": hashlib.sha256(record).digest(),
                        "payload": json.loads(record[64:])})
        at += 64 + length
    return records
