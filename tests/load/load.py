#!/usr/bin/env python3
"""Load on a real server: many streaming sessions with cancels, slow readers and broken requests.

    tests/load/load.py [--program FILE] [--sessions 64] [--seconds 600] [--idle 1000] [--json]

Starts `baleen serve` on the tiny checkpoint. A few dozen seeded requests are answered alone first; under
load every answer that is read to its end must be the same, token for token, so that lost or crossed
output cannot hide. Exits 1 when an answer differs, a stream is malformed, a sequence stays behind, or the
server's memory goes on growing after the first third.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
Json = dict[str, Any]
TOOL = {"name": "search", "parameters": {"type": "object", "required": ["query", "limit"],
        "properties": {"query": {"type": "string", "maxLength": 40}, "limit": {"type": "integer"}}}}


def make_requests() -> list[tuple[str, Json]]:
    """Path and body of each kind of request; the seed makes its answer one and the same."""
    requests: list[tuple[str, Json]] = []
    for i in range(8):
        text = f"question {i} " + "word " * (20 * i)
        common = {"seed": i, "temperature": 1.0, "stream": True}
        requests += [
            ("/v1/chat/completions", common | {
                "max_tokens": 40 + 10 * i, "messages": [{"role": "user", "content": text}],
                "stream_options": {"include_usage": True}}),
            ("/v1/chat/completions", common | {
                "max_tokens": 300, "messages": [{"role": "user", "content": text}],
                "tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"}),
            ("/v1/messages", common | {
                "max_tokens": 50, "messages": [{"role": "user", "content": text}],
                "system": "Be brief."}),
            ("/v1/responses", common | {"max_output_tokens": 50, "input": text}),
        ]
    return requests


def answer_of(path: str, lines: list[str]) -> str:
    """What a stream says, without ids and times; raises if it is malformed."""
    said: list[str] = []
    events = [json.loads(line[6:]) for line in lines
              if line.startswith("data: ") and line != "data: [DONE]"]
    if path == "/v1/chat/completions":
        assert lines[-1] == "data: [DONE]", lines[-1:]
        for event in events:
            for choice in event["choices"]:
                delta = choice["delta"]
                said += [delta.get("reasoning_content") or "", delta.get("content") or ""]
                said += [call["function"].get("name", "") + call["function"]["arguments"]
                         for call in delta.get("tool_calls", [])]
                said.append(choice["finish_reason"] or "")
    elif path == "/v1/messages":
        assert events[0]["type"] == "message_start" and events[-1]["type"] == "message_stop"
        for event in events:
            delta = event.get("delta", {})
            said += [str(delta.get(k, "")) for k in ("thinking", "text", "partial_json",
                                                     "stop_reason")]
    else:
        numbers = [event["sequence_number"] for event in events]
        assert numbers == list(range(len(numbers)))
        assert events[-1]["type"] in ("response.completed", "response.incomplete"), events[-1]
        said = [event["delta"] for event in events if event["type"].endswith(".delta")]
    return "".join(said)


@dataclass
class Load:
    host: str
    port: int
    requests: list[tuple[str, Json]]
    expected: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    first_bytes: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    stopping: bool = False

    def read(self, idx: int, give_up_after: int | None = None, pause_s: float = 0) -> str | None:
        """The whole answer, or None when given up after some lines."""
        path, body = self.requests[idx]
        connection = http.client.HTTPConnection(self.host, self.port, timeout=300)
        begun = time.monotonic()
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        if response.status == 429:
            self.counts["refused by the queue"] += 1
            return None
        assert response.status == 200, (response.status, response.read())
        lines: list[str] = []
        while line := response.readline():
            if not lines:
                self.first_bytes.append(time.monotonic() - begun)
            if text := line.decode().rstrip("\n"):
                lines.append(text)
            if give_up_after is not None and len(lines) >= give_up_after:
                connection.sock.close() if connection.sock else None
                response.close()
                self.counts["left by the client"] += 1
                return None
            if pause_s:
                time.sleep(pause_s)
        connection.close()
        return answer_of(path, lines)

    def break_something(self, rng: random.Random) -> None:
        path, body = rng.choice(self.requests)
        payload = json.dumps(body).encode()
        head = b"POST " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
        broken = rng.choice([
            b"\x00\xff garbage\r\n\r\n",
            head + b"Content-Length: 5\r\n\r\n{\"a\":",
            head + b"Content-Length: %d\r\n\r\n" % len(payload) + payload[:rng.randrange(20)],
            head + b"Content-Length: %d\r\n\r\n" % len(payload) + payload[::-1],
            head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"])
        with socket.create_connection((self.host, self.port), timeout=300) as sock:
            sock.sendall(broken)
            if rng.random() < 0.5:
                sock.shutdown(socket.SHUT_WR)
                sock.recv(4096)
        self.counts["broken requests"] += 1

    def session(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self.stopping:
            try:
                idx = rng.randrange(len(self.requests))
                dice = rng.random()
                if dice < 0.15:
                    self.break_something(rng)
                elif dice < 0.35:
                    self.read(idx, give_up_after=rng.randrange(1, 40))
                else:
                    answer = self.read(idx, pause_s=0.01 if dice < 0.45 else 0)
                    if answer is None:
                        continue
                    self.counts["answers read to the end"] += 1
                    if answer != self.expected[idx]:
                        self.faults.append(f"request {idx}: another answer than alone")
            except (AssertionError, ValueError, KeyError, OSError, http.client.HTTPException) as e:
                self.faults.append(f"{type(e).__name__}: {e}"[:300])


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no VmRSS")


def metric(host: str, port: int, name: str) -> float:
    connection = http.client.HTTPConnection(host, port, timeout=300)
    connection.request("GET", "/metrics")
    for line in connection.getresponse().read().decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise ValueError(f"no metric {name}")


def run(load: Load, pid: int, options: argparse.Namespace) -> Json:
    load.expected = [load.read(i) or "" for i in range(len(load.requests))]
    idle = [socket.create_connection((load.host, load.port)) for _ in range(options.idle)]
    threads = [threading.Thread(target=load.session, args=(i,)) for i in range(options.sessions)]
    for thread in threads:
        thread.start()
    memory: list[float] = []
    begun = time.monotonic()
    sampled = metric(load.host, load.port, "baleen_sampled_tokens_total")
    while (elapsed := time.monotonic() - begun) < options.seconds:
        memory.append(rss_mb(pid))
        print(f"\r{elapsed:5.0f} s  {memory[-1]:.0f} MB  {dict(load.counts)}  faults "
              f"{len(load.faults)}", end="", file=sys.stderr, flush=True)
        time.sleep(min(5.0, options.seconds / 20))
    elapsed = time.monotonic() - begun
    sampled = metric(load.host, load.port, "baleen_sampled_tokens_total") - sampled
    load.stopping = True
    for thread in threads:
        thread.join()
    for sock in idle:
        sock.close()
    for _ in range(200):
        left = metric(load.host, load.port, "baleen_running_sequences")
        if left == 0:
            break
        time.sleep(0.1)
    print(file=sys.stderr)
    third = len(memory) // 3
    early, late = statistics.median(memory[third:2 * third]), statistics.median(memory[2 * third:])
    if left:
        load.faults.append(f"{left:.0f} sequences are still running")
    if late > early * 1.05 + 2:
        load.faults.append(f"memory grows: {early:.0f} MB in the second third, {late:.0f} in the last")
    waits = sorted(load.first_bytes)
    return {"sessions": options.sessions, "idle_connections": options.idle,
            "seconds": round(elapsed), **load.counts,
            "sampled_tokens_per_s": round(sampled / elapsed, 1),
            "first_byte_s_p50": round(waits[len(waits) // 2], 3),
            "first_byte_s_p95": round(waits[len(waits) * 95 // 100], 3),
            "rss_mb_second_third": round(early, 1), "rss_mb_last_third": round(late, 1),
            "faults": load.faults[:10], "fault_count": len(load.faults)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(REPOSITORY / "build/release/baleen"))
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tiny = str(Path(folder) / "tiny")
        subprocess.run([options.program, "synth", "--preset", "tiny", "--seed", "1", "--out", tiny],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(Path(folder) / "log", "w", encoding="utf-8") as log:
            server = subprocess.Popen([options.program, "serve", "--model", tiny, "--port", "0",
                                       "--cache-memory", "0.05"], stdout=subprocess.PIPE, stderr=log,
                                      text=True)
        try:
            assert server.stdout is not None
            host, port = server.stdout.readline().strip().removeprefix("http://").rsplit(":", 1)
            result = run(Load(host, int(port), make_requests()), server.pid, options)
        finally:
            server.terminate()
            code = server.wait(timeout=120)
        if code != 0:
            result["faults"].append(f"the server ended with {code}")
            result["fault_count"] += 1
    print(json.dumps(result, indent=None if options.json else 2))
    return 1 if result["fault_count"] else 0


if __name__ == "__main__":
    sys.exit(main())
