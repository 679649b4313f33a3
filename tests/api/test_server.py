"""The server itself: keys, origins, limits, clients that leave, signals, the other endpoints."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import TIMEOUT_S, Server, StartServer, parse_events, run_together, tool

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "hello"}]
LONG = {"prompt": "hello", "max_tokens": 500_000, "stream": True, "ignore_eos": True}


def wait_until(condition, seconds: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition not reached"
        time.sleep(0.02)


def running(server: Server) -> int:
    return server.request("GET", "/health").json["running"]


def test_api_key(serve: StartServer) -> None:
    with serve([], "--api-key", "s3cret") as server:
        body = {"messages": USER}
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "s3cret2"}):
            reply = server.post(CHAT, body, headers)
            assert reply.status == 401 and "www-authenticate" in reply.headers
        assert server.post("/v1/messages", body).json["error"]["type"] == "authentication_error"
        assert server.request("GET", "/metrics").status == 401
        assert server.post(CHAT, body, {"authorization": "Bearer s3cret"}).status == 200
        assert server.post(CHAT, body, {"x-api-key": "s3cret"}).status == 200
        assert server.request("GET", "/health").status == 200


def test_other_origins_and_names_are_refused(serve: StartServer) -> None:
    body = {"messages": USER}
    with serve([]) as server:
        own = f"{server.host}:{server.port}"
        assert server.post(CHAT, body, {"origin": "http://evil.example"}).status == 403
        assert server.post(CHAT, body, {"host": "evil.example"}).status == 403
        reply = server.post(CHAT, body, {"origin": f"http://{own}"})
        assert reply.status == 200 and "access-control-allow-origin" not in reply.headers
    with serve([], "--cors", "http://page.example") as server:
        reply = server.post(CHAT, body, {"origin": "http://page.example"})
        assert reply.headers["access-control-allow-origin"] == "http://page.example"
        assert server.post(CHAT, body, {"origin": "http://evil.example"}).status == 403
        assert server.request("OPTIONS", CHAT, headers={"origin": "http://page.example"}).status == 204


def test_routes(serve: StartServer) -> None:
    with serve([], "--model-name", "whale") as server:
        assert server.request("GET", "/v1/models").json["data"][0]["id"] == "whale"
        assert server.request("HEAD", "/").status == 200
        assert b"<html" in server.request("GET", "/").body.lower()
        assert server.request("GET", "/nowhere").status == 404
        assert server.request("GET", CHAT).status == 405
        assert server.post(CHAT, b"{").status == 400
        assert server.post(CHAT, b"[]").status == 400
        assert server.post(CHAT, b'{"messages": "\xff"}').status == 400
        good = json.dumps({"messages": USER}).encode()
        assert server.post(CHAT, b" " + good + b"\n\t ").status == 200
        for bad in (good + b"\0", good + b"\0{}", good + b"x", good + good, b"\0" + good,
                    b"\xef\xbb\xbf" + good, good.replace(b"hello", b"hel\0lo")):
            reply = server.post(CHAT, bad)
            assert reply.status == 400 and "body" in reply.json["error"]["message"], bad
        ids = server.ok("/tokenize", {"text": "hi<think>"})["tokens"]
        assert len(ids) == 3
        assert len(server.ok("/tokenize", {"text": "hi<think>", "plain": True})["tokens"]) == 9
        assert server.ok("/detokenize", {"tokens": ids})["text"] == "hi<think>"
        assert server.ok("/tokenize", {"messages": USER})["count"] == 9


def test_completions(serve: StartServer) -> None:
    body = {"prompt": "Whales", "max_tokens": 20, "seed": 3, "ignore_eos": True, "logprobs": 2}
    with serve() as server:
        whole = server.ok("/v1/completions", body)
        events = server.stream("/v1/completions", body)
        other = server.ok("/v1/completions", body | {"seed": 4})
    text = "".join(c["text"] for e in events if e.data != "[DONE]" for c in e.data["choices"])
    assert text == whole["choices"][0]["text"] != other["choices"][0]["text"]
    assert whole["usage"]["completion_tokens"] == 20
    assert len(whole["choices"][0]["logprobs"]["token_logprobs"]) == 20


def test_generate_takes_and_gives_tokens(serve: StartServer) -> None:
    body = {"input_ids": [0, 40, 41], "return_logprob": True, "top_logprobs_num": 2,
            "sampling_params": {"max_new_tokens": 12, "temperature": 0.7, "sampling_seed": 9,
                                "ignore_eos": True}}
    with serve() as server:
        one = server.ok("/generate", body)
        again = server.ok("/generate", body)
        longer = server.ok("/generate", body | {"input_ids": [0, 40, 41, *one["output_ids"][:4]]})
    assert one["output_ids"] == again["output_ids"] and len(one["output_ids"]) == 12
    meta = one["meta_info"]
    assert meta["output_token_logprobs"] == again["meta_info"]["output_token_logprobs"]
    assert [pair[1] for pair in meta["output_token_logprobs"]] == one["output_ids"]
    assert meta["finish_reason"] == {"type": "length", "length": 12}
    assert longer["meta_info"]["prompt_tokens"] == 7


def test_generate_streams_only_what_is_new(serve: StartServer) -> None:
    body = {"input_ids": [0, 40, 41], "return_logprob": True, "top_logprobs_num": 1, "rid": "me",
            "sampling_params": {"max_new_tokens": 12, "temperature": 0.7, "sampling_seed": 9,
                                "ignore_eos": True, "n": 2}}
    with serve() as server:
        whole = server.ok("/generate", body)
        events = server.stream("/generate", body)
        again = server.stream("/generate", body)
    assert events[-1].data == "[DONE]"
    for i, one in enumerate(whole):
        chunks = [e.data for e in events[:-1] if e.data["index"] == i]
        assert len(chunks) > 3
        assert all(len(c["output_ids"]) <= 2 for c in chunks)
        assert sum((c["output_ids"] for c in chunks), []) == one["output_ids"]
        assert "".join(c["text"] for c in chunks) == one["text"]
        for key in ("output_token_logprobs", "output_token_model_logprobs", "output_top_logprobs"):
            assert sum((c["meta_info"][key] for c in chunks), []) == one["meta_info"][key]
        counts = [c["meta_info"]["completion_tokens"] for c in chunks]
        assert counts == sorted(counts) and counts[-1] == 12
        assert [c["meta_info"]["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-1]["meta_info"]["finish_reason"] == one["meta_info"]["finish_reason"]
        assert {c["meta_info"]["id"] for c in chunks} == {"me"}
    assert again[0].data["meta_info"]["cached_tokens"] > 0


def test_http_errors_have_the_apis_form(serve: StartServer) -> None:
    def raw(server: Server, request: bytes) -> dict:
        with socket.create_connection((server.host, server.port), timeout=TIMEOUT_S) as sock:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(sock)
            response.begin()
            assert response.headers["content-type"] == "application/json"
            return json.loads(response.read()) | {"status": response.status}

    too_long = b"Host: localhost\r\nContent-Length: 99999999999\r\n\r\n"
    with serve([]) as server:
        chat = raw(server, b"POST /v1/chat/completions HTTP/1.1\r\n" + too_long)
        messages = raw(server, b"POST /v1/messages HTTP/1.1\r\n" + too_long)
        header = raw(server, b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nX: "
                     + b"x" * 70_000 + b"\r\n\r\n")
        noise = raw(server, b"\x16\x03\x01\x02\r\n\r\n")
    assert chat["status"] == 413 and chat["error"]["type"] == "invalid_request_error"
    assert "bytes" in chat["error"]["message"]
    assert messages["status"] == 413 and messages["type"] == "error"
    assert messages["error"]["type"] == "request_too_large"
    assert header["status"] == 431 and header["type"] == "error"
    assert noise["status"] == 400 and "malformed" in noise["error"]["message"]


def test_same_tokens_whatever_else_runs(serve: StartServer) -> None:
    body = {"messages": USER, "seed": 11, "max_tokens": 40}
    with serve() as server:
        alone = server.ok(CHAT, body)["choices"][0]["message"]
        crowd = run_together(12, lambda i: server.ok(CHAT, body if i % 3 == 0 else {
            "messages": [{"role": "user", "content": "x" * (50 * i)}], "max_tokens": 60}))
    assert all(crowd[i]["choices"][0]["message"] == alone for i in range(0, 12, 3))


def test_a_full_queue_is_a_429(serve: StartServer) -> None:
    with serve(None, "--parallel", "1", "--queue", "1") as server:
        streams = [open_stream(server)]
        wait_until(lambda: running(server) == 1)
        streams.append(open_stream(server))
        wait_until(lambda: server.request("GET", "/health").json["queued"] == 1)
        reply = server.post(CHAT, {"messages": USER})
        assert reply.status == 429 and reply.headers["retry-after"]
        assert reply.json["error"]["type"] == "rate_limit_error"
        for stream in streams:
            stream.close()


def open_stream(server: Server) -> socket.socket:
    """Sends a request for an endless answer and reads nothing but the first bytes."""
    sock = socket.create_connection((server.host, server.port), timeout=TIMEOUT_S)
    payload = json.dumps(LONG).encode()
    sock.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
                 b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(payload)
                 + payload)
    return sock


@pytest.mark.parametrize("way", ["close", "half-close", "reset", "kill"])
def test_a_client_that_leaves_frees_its_sequence(serve: StartServer, way: str) -> None:
    with serve() as server:
        if way == "kill":
            code = ("import http.client, json, sys\n"
                    "c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]))\n"
                    "c.request('POST', '/v1/completions', sys.argv[3])\n"
                    "r = c.getresponse()\n"
                    "print(r.status, flush=True)\n"
                    "while r.read(1): pass\n")
            client = subprocess.Popen([sys.executable, "-c", code, server.host, str(server.port),
                                       json.dumps(LONG)], stdout=subprocess.PIPE, text=True)
            assert client.stdout is not None and client.stdout.readline().strip() == "200"
        else:
            sock = open_stream(server)
            assert sock.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: running(server) == 1)
        if way == "kill":
            client.send_signal(signal.SIGKILL)
            client.wait()
        elif way == "close":
            sock.close()
        elif way == "half-close":
            sock.shutdown(socket.SHUT_WR)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        # The promise is a second; a busy test machine gets more.
        wait_until(lambda: running(server) == 0, 20)
        assert server.metric("baleen_cancelled_requests_total") == 1


def test_a_cancelled_prefill_is_not_lost(serve: StartServer) -> None:
    long = [{"role": "user", "content": "word " * 3000}]
    with serve([]) as server:
        payload = json.dumps({"messages": long, "stream": True}).encode()
        sock = socket.create_connection((server.host, server.port), timeout=TIMEOUT_S)
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(payload) + payload)
        wait_until(lambda: server.metric("baleen_prefilled_tokens_total") >= 2048)
        sock.close()
        wait_until(lambda: running(server) == 0)
        done = server.metric("baleen_prefilled_tokens_total")
        usage = server.ok(CHAT, {"messages": long})["usage"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        assert cached >= done - 1024, (cached, done)


@pytest.mark.parametrize(("path", "body", "sign"), [
    (CHAT, {"messages": USER}, "comment"),
    ("/v1/messages", {"messages": USER, "max_tokens": 10}, "ping"),
    ("/v1/responses", {"input": "hello"}, "response.in_progress"),
])
def test_keep_alive_during_a_long_prefill(serve: StartServer, path: str, body: dict,
                                          sign: str) -> None:
    text = "word " * 3000
    if "input" in body:
        body = {"input": text}
    else:
        body = body | {"messages": [{"role": "user", "content": text}]}
    with serve([], "--keep-alive-ms", "20") as server:
        events = server.stream(path, body, comments=True)
    assert sum(e.name == sign for e in events) > 3


def test_keep_alive_while_a_value_is_withheld(serve: StartServer) -> None:
    turn = {"tool_calls": [{"name": "f", "arguments": {"list": list(range(400))}}]}
    with serve([turn], "--keep-alive-ms", "10") as server:
        events = server.stream(CHAT, {"messages": USER, "tools": [tool("f", list="array")]},
                               comments=True)
    names = [e.name for e in events]
    begun = next(i for i, e in enumerate(events) if "tool_calls" in str(e.data))
    assert "comment" in names[begun:]


def test_a_slow_reader_blocks_nobody(serve: StartServer) -> None:
    with serve() as server:
        slow = open_stream(server)
        wait_until(lambda: running(server) == 1)
        for _ in range(3):
            assert server.ok(CHAT, {"messages": USER, "max_tokens": 30})
        slow.close()


def test_idle_connections(serve: StartServer) -> None:
    with serve([]) as server:
        idle = [socket.create_connection((server.host, server.port)) for _ in range(1000)]
        wait_until(lambda: server.metric("baleen_connections") >= 1000)
        threads = len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))
        assert threads < 64, threads
        assert server.ok(CHAT, {"messages": USER})
        for sock in idle:
            sock.close()
        wait_until(lambda: server.metric("baleen_connections") < 10)


def test_stopping_lets_running_requests_finish(serve: StartServer, program: str, tiny: Path,
                                               tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"turns": [], "otherwise": {"content": "word " * 400}}))
    process = subprocess.Popen([program, "serve", "--model", tiny, "--port", "0", "--script",
                                script, "--grace", str(TIMEOUT_S)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    host, port = process.stdout.readline().strip().removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    connection.request("POST", CHAT, json.dumps({"messages": USER, "stream": True}))
    response = connection.getresponse()
    events = parse_events(iter(response.readline, b""))
    seen = [next(events) for _ in range(4)]
    process.send_signal(signal.SIGINT)
    text = "".join(c["delta"].get("content") or "" for e in [*seen, *events]
                   if e.data != "[DONE]" and e.name != "comment" for c in e.data["choices"])
    assert text == "word " * 400
    assert process.wait(timeout=TIMEOUT_S) == 0
    assert "0 requests cancelled" in process.stderr.read()


def test_script_is_refused_where_others_could_reach_it(program: str, tiny: Path) -> None:
    done = subprocess.run([program, "serve", "--model", tiny, "--host", "0.0.0.0", "--script", "x"],
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 2 and "--allow-script" in done.stderr


def test_a_script_that_has_run_out(serve: StartServer) -> None:
    with serve({"turns": [{"content": "once"}]}) as server:
        assert server.post(CHAT, {"messages": USER}).status == 200
        reply = server.post(CHAT, {"messages": USER})
    assert reply.status == 500 and "script" in reply.json["error"]["message"]


def test_port_in_use_is_one_line(serve: StartServer, program: str, tiny: Path) -> None:
    with serve([]) as server:
        done = subprocess.run([program, "serve", "--model", tiny, "--port", str(server.port)],
                              capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 1 and str(server.port) in done.stderr.splitlines()[-1]
