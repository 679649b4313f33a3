"""/v1/chat/completions: answers, streams, modes and errors."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Event, Json, StartServer, tool

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "hello"}]


def joined(events: list[Event], field: str) -> str:
    return "".join(choice["delta"].get(field) or "" for event in events if event.data != "[DONE]"
                   and event.name != "comment" for choice in event.data["choices"])


def collected_calls(events: list[Event]) -> list[Json]:
    calls: list[Json] = []
    for event in events:
        if event.name == "comment" or event.data == "[DONE]":
            continue
        for choice in event.data["choices"]:
            for delta in choice["delta"].get("tool_calls", []):
                if delta["index"] == len(calls):
                    calls.append({"id": delta["id"], "name": delta["function"]["name"],
                                  "arguments": ""})
                calls[delta["index"]]["arguments"] += delta["function"]["arguments"]
    return calls


def test_answer_with_reasoning_and_usage(serve: StartServer) -> None:
    with serve([{"reasoning": "Think.", "content": "Hi there."}]) as server:
        answer = server.ok(CHAT, {"model": "m", "messages": USER})
    message = answer["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Hi there.", "reasoning_content": "Think.",
                       "reasoning": "Think."}
    assert answer["choices"][0]["finish_reason"] == "stop" and answer["model"] == "m"
    usage = answer["usage"]
    # Byte tokens: the reasoning, </think>, the content, the end marker.
    assert usage["completion_tokens"] == 6 + 1 + 9 + 1
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 7}
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    # BOS, <User>, "hello", <Assistant>, <think>.
    assert usage["prompt_tokens"] == 9


def test_stream_equals_the_whole_answer(serve: StartServer) -> None:
    turn = {"reasoning": "r\u00e9sum\u00e9 \U0001F40B", "content": "\u4f60\u597d, world",
            "tool_calls": [{"name": "bash", "arguments": {"command": "ls 2>&1", "n": [1, 2]}},
                           {"name": "read", "arguments": {}}]}
    body = {"messages": USER, "tools": [tool("bash", command="string", n="array"), tool("read")]}
    with serve([turn, turn]) as server:
        whole = server.ok(CHAT, body)["choices"][0]
        events = server.stream(CHAT, body | {"stream_options": {"include_usage": True}})
    assert joined(events, "reasoning_content") == whole["message"]["reasoning_content"]
    assert joined(events, "content") == whole["message"]["content"] == turn["content"]
    calls = collected_calls(events)
    assert [(c["name"], c["arguments"]) for c in calls] == [
        (c["function"]["name"], c["function"]["arguments"])
        for c in whole["message"]["tool_calls"]]
    assert calls[0]["arguments"] == '{"command": "ls 2>&1", "n": [1, 2]}'
    assert calls[1]["arguments"] == "{}"
    assert len({c["id"] for c in calls}) == 2
    finishes = [c["finish_reason"] for e in events if e.data != "[DONE]" for c in e.data["choices"]
                if c["finish_reason"]]
    assert finishes == ["tool_calls"] == [whole["finish_reason"]]
    usages = [e.data["usage"] for e in events if e.data != "[DONE]" and "usage" in e.data]
    assert len(usages) == 1 and events[-1].data == "[DONE]"
    assert usages[0]["prompt_tokens_details"]["cached_tokens"] > 0


def test_long_string_arguments_come_in_pieces(serve: StartServer) -> None:
    text = "line of a file\n" * 50
    with serve([{"tool_calls": [{"name": "write", "arguments": {"text": text}}]}]) as server:
        events = server.stream(CHAT, {"messages": USER, "tools": [tool("write", text="string")]})
    pieces = [d["function"]["arguments"] for e in events if e.data != "[DONE]"
              for c in e.data["choices"] for d in c["delta"].get("tool_calls", [])]
    assert len(pieces) > len(text) / 2


@pytest.mark.parametrize(("fields", "mode", "effort"), [
    ({}, "thinking", "high"),
    ({"thinking": {"type": "disabled"}}, "chat", "none"),
    ({"thinking": {"type": "enabled"}, "reasoning_effort": "none"}, "thinking", "high"),
    ({"enable_thinking": False}, "chat", "none"),
    ({"chat_template_kwargs": {"thinking": False}}, "chat", "none"),
    ({"chat_template_kwargs": {"enable_thinking": True}}, "thinking", "high"),
    ({"reasoning_effort": "none"}, "chat", "none"),
    ({"reasoning_effort": "minimal"}, "thinking", "high"),  # v4 has no low
    ({"reasoning_effort": "xhigh"}, "thinking", "high"),
    ({"reasoning_effort": "max"}, "thinking", "max"),
    ({"reasoning": {"effort": "ultra"}}, "thinking", "max"),
])
def test_RowB8_every_spelling_of_thinking(serve: StartServer, fields: Json, mode: str,
                                          effort: str) -> None:
    with serve([]) as server:
        reply = server.post(CHAT, {"messages": USER, **fields})
    assert reply.status == 200
    assert f"mode={mode} effort={effort}" in reply.headers["x-baleen-prompt"]


def test_RowC1_C2_the_effort_table_is_the_dialects(serve: StartServer) -> None:
    counts = {}
    for dialect in ("v4", "v4-0731"):
        with serve([], "--dialect", dialect) as server:
            for effort in ("low", "high", "max"):
                usage = server.ok(CHAT, {"messages": USER, "reasoning_effort": effort})["usage"]
                counts[dialect, effort] = usage["prompt_tokens"]
    plain = counts["v4", "low"]
    assert counts["v4", "high"] == counts["v4-0731", "low"] == plain
    assert counts["v4", "max"] == counts["v4-0731", "high"] > plain
    assert counts["v4-0731", "max"] > counts["v4-0731", "high"]


def test_max_effort_in_a_small_context_is_high_and_says_so(serve: StartServer) -> None:
    with serve([], "--context", "100000") as server:
        reply = server.post(CHAT, {"messages": USER, "reasoning_effort": "max"})
    assert "effort=high" in reply.headers["x-baleen-prompt"]
    assert "393216" in reply.headers["x-baleen-warning"]


def test_stop_strings_only_in_the_answer(serve: StartServer) -> None:
    with serve([{"reasoning": "not END here", "content": "one END two"}]) as server:
        choice = server.ok(CHAT, {"messages": USER, "stop": ["END", "never"]})["choices"][0]
    assert choice["message"]["content"] == "one "
    assert choice["message"]["reasoning_content"] == "not END here"
    assert choice["finish_reason"] == "stop"


def test_RowA10_budget_inside_a_call(serve: StartServer) -> None:
    turn = {"content": "Wait.", "tool_calls": [{"name": "bash", "arguments": {"command": "x" * 99}}]}
    body = {"messages": USER, "tools": [tool("bash", command="string")], "max_tokens": 110,
            "thinking": {"type": "disabled"}}
    with serve([turn, turn]) as server:
        choice = server.ok(CHAT, body)["choices"][0]
        events = server.stream(CHAT, body)
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == "Wait." and "tool_calls" not in choice["message"]
    text = "".join(str(e.data) for e in events)
    assert "DSML" not in text and "\uFF5C" not in text
    assert collected_calls(events)[0]["arguments"].startswith('{"command": "xxx')


def test_choices_and_seeds(serve: StartServer) -> None:
    body = {"messages": USER, "n": 3, "seed": 5, "max_tokens": 12, "temperature": 1.0}
    with serve() as server:
        first = server.ok(CHAT, body)
        again = server.ok(CHAT, body)
        one = server.ok(CHAT, body | {"n": 1, "seed": 6})
    texts = [c["message"]["reasoning_content"] for c in first["choices"]]
    assert texts == [c["message"]["reasoning_content"] for c in again["choices"]]
    assert len(set(texts)) == 3
    assert one["choices"][0]["message"]["reasoning_content"] == texts[1]


def test_logprobs_cover_the_answers_tokens(serve: StartServer) -> None:
    body = {"messages": USER, "logprobs": True, "top_logprobs": 3,
            "thinking": {"type": "disabled"}}
    with serve([{"content": "Hi"}, {"content": "Hi"}]) as server:
        whole = server.ok(CHAT, body)["choices"][0]["logprobs"]["content"]
        events = server.stream(CHAT, body)
    assert [entry["token"] for entry in whole] == ["H", "i"]
    for entry in whole:
        tops = [top["logprob"] for top in entry["top_logprobs"]]
        assert len(tops) == 3 and tops == sorted(tops, reverse=True)
        assert entry["logprob"] <= tops[0] <= 0
    streamed: list[Any] = []
    for event in events:
        if event.data != "[DONE]":
            for choice in event.data["choices"]:
                streamed += (choice["logprobs"] or {"content": []})["content"]
    assert streamed == whole


@pytest.mark.parametrize(("body", "words"), [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0]"),
    ({"messages": [{"role": "system", "content": "x"}]}, "system"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "image_url"),
    ({"messages": USER, "temperature": -1}, "temperature"),
    ({"messages": USER, "max_tokens": 0}, "max_tokens"),
    ({"messages": USER, "reasoning_effort": "enormous"}, "reasoning_effort"),
    ({"messages": USER, "tool_choice": "required"}, "tools"),
    ({"messages": USER, "tools": [tool("a")], "tool_choice": {"type": "function", "function": {"name": "b"}}}, "tool_choice"),
    ({"messages": USER, "tools": [{"type": "function", "function": {}}]}, "tools[0]"),
    ({"messages": USER, "n": 1000}, "n is 1000"),
    ({"messages": USER, "response_format": {"type": "xml"}}, "response_format"),
    ({"messages": [*USER, {"role": "assistant", "content": "", "tool_calls": [
        {"id": "1", "function": {"name": "f", "arguments": "[1]"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"}]}, "arguments"),
])
def test_bad_requests_are_named(serve_shared: Any, body: Json, words: str) -> None:
    reply = serve_shared.post(CHAT, body)
    assert reply.status == 400, reply.body
    error = reply.json["error"]
    assert error["type"] == "invalid_request_error" and words in error["message"], error


@pytest.fixture(scope="module")
def serve_shared(serve: StartServer) -> Any:
    with serve([]) as server:
        yield server


def test_a_prompt_beyond_the_context(serve: StartServer) -> None:
    with serve([], "--context", "256") as server:
        reply = server.post(CHAT, {"messages": [{"role": "user", "content": "x" * 300}]})
        edge = server.post(CHAT, {"messages": [{"role": "user", "content": "x" * 240}]})
    assert reply.status == 400 and reply.json["error"]["code"] == "context_length_exceeded"
    assert reply.json["error"]["message"] == "prompt is too long: 304 tokens > 255 maximum"
    assert edge.status == 200


def test_json_object_and_schema(serve: StartServer) -> None:
    import json

    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8},
                                               "age": {"type": "integer"}},
              "required": ["name", "age"], "additionalProperties": False}
    formats = [{"type": "json_object"},
               {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}]
    with serve() as server:
        for seed in range(6):
            for response_format in formats:
                answer = server.ok(CHAT, {"messages": USER, "response_format": response_format,
                                          "max_tokens": 400, "seed": seed})
                value = json.loads(answer["choices"][0]["message"]["content"])
                assert isinstance(value, dict), value
                if response_format["type"] == "json_schema":
                    assert set(value) == {"name", "age"} and isinstance(value["age"], int)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.repeat)
                                        for n in range(1, 8))])
def test_required_calls_from_random_weights(serve: StartServer, seed: int) -> None:
    import json

    tools = [tool("get_weather", city="string", days="integer"), tool("ls")]
    with serve() as server:
        for mode in ("enabled", "disabled"):
            answer = server.ok(CHAT, {"messages": USER, "tools": tools, "seed": seed,
                                      "tool_choice": "required", "max_tokens": 600,
                                      "thinking": {"type": mode}})
            choice = answer["choices"][0]
            assert choice["finish_reason"] == "tool_calls", choice
            for call in choice["message"]["tool_calls"]:
                arguments = json.loads(call["function"]["arguments"])
                if call["function"]["name"] == "get_weather":
                    assert isinstance(arguments["city"], str)
                    assert isinstance(arguments["days"], int)
                else:
                    assert call["function"]["name"] == "ls" and isinstance(arguments, dict)
