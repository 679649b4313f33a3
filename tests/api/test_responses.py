"""/v1/responses: items, events, custom tools and namespaces."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Event, Json, StartServer

RESPONSES = "/v1/responses"
BASH = {"type": "function", "name": "bash", "description": "Run.", "strict": False, "parameters": {
    "type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}}
TURN = {"reasoning": "Think.", "content": "I look.",
        "tool_calls": [{"name": "bash", "arguments": {"command": "ls"}}]}


def check_order(events: list[Event]) -> Json:
    """Sequence numbers, item life cycles, deltas against their done; returns the response."""
    assert [e.data["sequence_number"] for e in events] == list(range(len(events)))
    assert all(e.data["type"] == e.name for e in events)
    assert [e.name for e in events[:2]] == ["response.created", "response.in_progress"]
    open_items: dict[int, Json] = {}
    texts: dict[str, str] = {}
    for event in events:
        data = event.data
        if event.name == "response.output_item.added":
            open_items[data["output_index"]] = data["item"]
        elif event.name == "response.output_item.done":
            assert open_items.pop(data["output_index"])["id"] == data["item"]["id"]
        elif event.name.endswith(".delta"):
            assert open_items[data["output_index"]]["id"] == data["item_id"]
            texts[data["item_id"]] = texts.get(data["item_id"], "") + data["delta"]
        elif event.name.endswith(("text.done", "arguments.done", "input.done")):
            whole = data.get("text", data.get("arguments", data.get("input")))
            assert whole == texts[data["item_id"]]
    assert not open_items
    return events[-1].data["response"]


def shape(response: Json) -> list[Any]:
    return [{k: v for k, v in item.items() if k not in ("id", "call_id", "encrypted_content")}
            for item in response["output"]]


def test_answer_and_stream_agree(serve: StartServer) -> None:
    body = {"model": "m", "input": "hello", "tools": [BASH], "metadata": {"a": "b"}}
    with serve([TURN, TURN]) as server:
        whole = server.ok(RESPONSES, body)
        streamed = check_order(server.stream(RESPONSES, body))
    assert [i["type"] for i in whole["output"]] == ["reasoning", "message", "function_call"]
    assert shape(whole) == shape(streamed)
    assert whole["output"][0]["content"] == [{"type": "reasoning_text", "text": "Think."}]
    assert whole["output"][1]["content"][0]["text"] == "I look."
    assert whole["output"][2]["arguments"] == '{"command": "ls"}'
    assert whole["status"] == streamed["status"] == "completed"
    assert whole["metadata"] == {"a": "b"} and whole["tools"] == [BASH]
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] == 7
    assert streamed["usage"]["input_tokens_details"]["cached_tokens"] > 0


def test_custom_tools_and_namespaces_come_back_as_declared(serve: StartServer) -> None:
    tools = [{"type": "custom", "name": "apply_patch", "description": "P.",
              "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.*/"}},
             {"type": "namespace", "name": "mcp__files", "description": "F.", "tools": [
                 {"type": "function", "name": "read", "parameters": {"type": "object",
                  "properties": {"path": {"type": "string"}}}}]},
             {"type": "web_search"}]
    turn = {"tool_calls": [{"name": "apply_patch", "arguments": {"input": "*** Begin\n\"x\""}},
                           {"name": "mcp__files__read", "arguments": {"path": "a"}}]}
    with serve([turn, {"content": "done"}]) as server:
        events = server.stream(RESPONSES, {"input": "go", "tools": tools})
        response = check_order(events)
        custom, read = [i for i in response["output"] if i["type"] != "reasoning"]
        assert (custom["type"], custom["name"], custom["input"]) == (
            "custom_tool_call", "apply_patch", "*** Begin\n\"x\"")
        assert (read["name"], read["namespace"]) == ("read", "mcp__files")
        items = [{"role": "user", "content": "go"}, *response["output"],
                 {"type": "custom_tool_call_output", "call_id": custom["call_id"], "output": "ok"},
                 {"type": "function_call_output", "call_id": read["call_id"], "output": "text"}]
        server.ok(RESPONSES, {"input": items, "tools": tools})
        before, after = server.request_log()
    assert after["cached_tokens"] >= before["prompt_tokens"] + before["completion_tokens"] - 128
    assert after["replayed_messages"] == 1


def test_incomplete(serve: StartServer) -> None:
    body = {"input": "x", "max_output_tokens": 4, "reasoning": {"effort": "none"}}
    with serve([{"content": "much too long"}] * 2) as server:
        whole = server.ok(RESPONSES, body)
        events = server.stream(RESPONSES, body)
    assert whole["status"] == "incomplete"
    assert whole["incomplete_details"] == {"reason": "max_output_tokens"}
    assert whole["output"][0]["content"][0]["text"] == "much"
    assert events[-1].name == "response.incomplete"
    check_order(events)


@pytest.mark.parametrize(("fields", "words"), [
    ({"input": []}, "input"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"background": True}, "background"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
     "input_image"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
])
def test_errors(serve: StartServer, fields: Json, words: str) -> None:
    with serve([]) as server:
        reply = server.post(RESPONSES, {"input": "x", **fields})
    assert reply.status == 400 and words in reply.json["error"]["message"]
