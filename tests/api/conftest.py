"""A real server on the tiny checkpoint, answering from a script, and a plain HTTP client."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Long enough for a sanitizer build on two busy cores; reaching it is a failure, not a measurement.
TIMEOUT_S = 300

Json = dict[str, Any]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "repeat: the same again with other data; not under sanitizers")


@pytest.fixture(scope="session")
def program() -> str:
    path = Path(os.environ.get("BALEEN_PROGRAM", REPOSITORY / "build/release/baleen"))
    assert path.is_file(), f"{path}: no program there (make build, or set BALEEN_PROGRAM)"
    return str(path)


@pytest.fixture(scope="session")
def shared() -> Path:
    path = (REPOSITORY / os.environ.get("BALEEN_SHARED", "../shared")).resolve()
    assert path.is_dir(), f"{path}: no shared test data there (set BALEEN_SHARED)"
    return path


@pytest.fixture(scope="session")
def tiny(program: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    done = subprocess.run([program, "synth", "--preset", "tiny", "--seed", "1", "--out", folder],
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@dataclass
class Event:
    """One server-sent event; data is parsed unless it is [DONE]."""

    name: str
    data: Any


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def parse_events(lines: Iterator[bytes]) -> Iterator[Event]:
    name, data = "", []
    for raw in lines:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            yield Event("comment", line[1:].strip())
        elif line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data.append(line[6:])
        elif not line and data:
            text = "\n".join(data)
            yield Event(name, text if text == "[DONE]" else json.loads(text))
            name, data = "", []


@dataclass
class Server:
    process: subprocess.Popen[str]
    host: str
    port: int
    log_path: Path
    requests_path: Path
    errors: list[str] = field(default_factory=list)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)

    def request(self, method: str, path: str, body: Json | bytes | None = None,
                headers: dict[str, str] | None = None) -> Reply:
        connection = self.connect()
        payload = json.dumps(body).encode() if isinstance(body, dict) else body
        connection.request(method, path, payload,
                           {"content-type": "application/json", **(headers or {})})
        response = connection.getresponse()
        reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()},
                      response.read())
        connection.close()
        return reply

    def post(self, path: str, body: Json | bytes, headers: dict[str, str] | None = None) -> Reply:
        return self.request("POST", path, body, headers)

    def ok(self, path: str, body: Json) -> Any:
        reply = self.post(path, body)
        assert reply.status == 200, reply.body
        return reply.json

    def stream(self, path: str, body: Json, *, comments: bool = False) -> list[Event]:
        """All events; the keep-alive comments, which come when the machine is slow, only if asked."""
        connection = self.connect()
        connection.request("POST", path, json.dumps(body | {"stream": True}).encode(),
                           {"content-type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        events = list(parse_events(iter(response.readline, b"")))
        connection.close()
        return [e for e in events if comments or e.name != "comment"]

    def request_log(self) -> list[Json]:
        return [json.loads(line) for line in self.requests_path.read_text().splitlines()]

    def metric(self, name: str) -> float:
        for line in self.request("GET", "/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")


StartServer = Callable[..., Any]


@pytest.fixture(scope="session")
def serve(program: str, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> StartServer:
    """serve(script, *options, model=folder): a context manager that yields a Server."""

    @contextmanager
    def start(script: Any = None, *options: str, model: Path = tiny) -> Iterator[Server]:
        folder = tmp_path_factory.mktemp("serve")
        arguments = [program, "serve", "--model", str(model), "--port", "0", "--request-log",
                     str(folder / "requests.jsonl"), *options]
        if script is not None:
            if isinstance(script, list):
                script = {"turns": script, "otherwise": {"content": "otherwise"}}
            (folder / "script.json").write_text(json.dumps(script))
            arguments += ["--script", str(folder / "script.json")]
        with open(folder / "log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://"), (folder / "log").read_text()
            host, port = address.removeprefix("http://").rsplit(":", 1)
            yield Server(process, host, int(port), folder / "log", folder / "requests.jsonl")
            assert process.poll() is None, (folder / "log").read_text()[-4000:]
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        assert process.returncode == 0, (folder / "log").read_text()[-4000:]

    return start


def tool(name: str, **properties: str) -> Json:
    """A tool in Chat form; properties are name=JSON-Schema-type."""
    return {"type": "function",
            "function": {"name": name, "description": f"The tool {name}.",
                         "parameters": {"type": "object",
                                        "properties": {k: {"type": v}
                                                       for k, v in properties.items()},
                                        "required": list(properties)}}}


def run_together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """work(0) .. work(count - 1) on threads of their own; the results in order."""
    results: list[Any] = [None] * count

    def one(i: int) -> None:
        try:
            results[i] = work(i)
        except BaseException as error:  # reported in the caller's thread
            results[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
