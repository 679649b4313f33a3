"""/v1/messages and count_tokens: blocks, events, errors."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Event, Json, StartServer

MESSAGES = "/v1/messages"
USER = [{"role": "user", "content": "hello"}]
BASH = {"name": "bash", "description": "Run.", "input_schema": {
    "type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}}
TURN = {"reasoning": "Think.", "content": "I look.",
        "tool_calls": [{"name": "bash", "arguments": {"command": "ls"}},
                       {"name": "bash", "arguments": {"command": "pwd"}}]}


def rebuilt(events: list[Event]) -> Json:
    """The message as a client builds it; checks the order of the events on the way."""
    assert [e.name for e in events if e.name != "ping"][0] == "message_start"
    message: Json = events[0].data["message"]
    open_block: Any = None
    for event in events[1:]:
        data = event.data
        assert data["type"] == event.name
        if event.name == "content_block_start":
            assert open_block is None and data["index"] == len(message["content"])
            open_block = data["content_block"] | {"json": ""}
        elif event.name == "content_block_delta":
            delta = data["delta"]
            key = {"thinking_delta": "thinking", "text_delta": "text",
                   "signature_delta": "signature", "input_json_delta": "partial_json"}[delta["type"]]
            open_block["json" if key == "partial_json" else key] += delta[key]
        elif event.name == "content_block_stop":
            message["content"].append(open_block)
            open_block = None
        elif event.name == "message_delta":
            message |= data["delta"]
            message["usage"] |= data["usage"]
        else:
            assert event.name in ("message_stop", "ping"), event
    assert open_block is None and events[-1].name == "message_stop"
    return message


def test_answer_and_stream_agree(serve: StartServer) -> None:
    body = {"model": "claude-x", "max_tokens": 1000, "messages": USER, "tools": [BASH]}
    with serve([TURN, TURN]) as server:
        whole = server.ok(MESSAGES, body)
        streamed = rebuilt(server.stream(MESSAGES, body))
    kinds = [b["type"] for b in whole["content"]]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    assert kinds == [b["type"] for b in streamed["content"]]
    assert whole["stop_reason"] == streamed["stop_reason"] == "tool_use"
    assert whole["content"][0]["thinking"] == streamed["content"][0]["thinking"] == "Think."
    assert whole["content"][0]["signature"] and streamed["content"][0]["signature"]
    assert whole["content"][1]["text"] == streamed["content"][1]["text"] == "I look."
    assert whole["content"][2]["input"] == {"command": "ls"}
    assert streamed["content"][2]["json"] == '{"command": "ls"}'
    assert whole["model"] == "claude-x" and whole["role"] == "assistant"
    usage, again = whole["usage"], streamed["usage"]
    assert usage["output_tokens"] == again["output_tokens"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == (
        again["input_tokens"] + again["cache_read_input_tokens"])
    assert again["cache_read_input_tokens"] > 0


def test_count_tokens_is_the_input_of_the_same_request(serve: StartServer) -> None:
    with serve([]) as server:
        for i in range(20):
            body = {"messages": [{"role": "user", "content": f"{'word ' * i}\u00e9\U0001F40B"}],
                    "system": "s" * i, "tools": [BASH] if i % 2 else []}
            count = server.ok(MESSAGES + "/count_tokens", body)["input_tokens"]
            usage = server.ok(MESSAGES, body | {"max_tokens": 1})["usage"]
            assert count == usage["input_tokens"] + usage["cache_read_input_tokens"]


def test_stop_reasons(serve: StartServer) -> None:
    turns = [{"content": "plain"}, {"content": "one STOP two"}, {"content": "much too long"}]
    body = {"messages": USER, "max_tokens": 100, "thinking": {"type": "disabled"}}
    with serve(turns) as server:
        end = server.ok(MESSAGES, body)
        stop = server.ok(MESSAGES, body | {"stop_sequences": ["STOP"]})
        cut = server.ok(MESSAGES, body | {"max_tokens": 4})
    assert (end["stop_reason"], end["stop_sequence"]) == ("end_turn", None)
    assert (stop["stop_reason"], stop["stop_sequence"]) == ("stop_sequence", "STOP")
    assert stop["content"] == [{"type": "text", "text": "one "}]
    assert (cut["stop_reason"], cut["content"][0]["text"]) == ("max_tokens", "much")


def test_system_in_the_middle_unknown_blocks_and_hosted_tools(serve: StartServer) -> None:
    body = {"max_tokens": 50, "system": [{"type": "text", "text": "S"}], "messages": [
        {"role": "user", "content": "a"}, {"role": "system", "content": "M"},
        {"role": "assistant", "content": [{"type": "server_tool_use", "id": "1"},
                                          {"type": "text", "text": "b"}]},
        {"role": "user", "content": [{"type": "text", "text": "c"}]}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
    with serve([]) as server:
        reply = server.post(MESSAGES + "?beta=true", body)
    assert reply.status == 200 and "web_search" in reply.headers["x-baleen-warning"]


@pytest.mark.parametrize(("fields", "words"), [
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "image"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
    ({"tool_choice": {"type": "tool", "name": "nope"}, "tools": [BASH]}, "nope"),
    ({"output_config": {"effort": "huge"}}, "output_config.effort"),
])
def test_errors_have_anthropics_form(serve: StartServer, fields: Json, words: str) -> None:
    with serve([]) as server:
        reply = server.post(MESSAGES, {"messages": USER, "max_tokens": 10, **fields})
    assert reply.status == 400 and reply.json["type"] == "error"
    assert reply.json["error"]["type"] == "invalid_request_error"
    assert words in reply.json["error"]["message"]


def test_named_tool(serve: StartServer) -> None:
    with serve() as server:
        answer = server.ok(MESSAGES, {"messages": USER, "max_tokens": 300, "tools": [BASH],
                                      "tool_choice": {"type": "tool", "name": "bash"}})
    calls = [b for b in answer["content"] if b["type"] == "tool_use"]
    assert len(calls) == 1 and isinstance(calls[0]["input"]["command"], str)
