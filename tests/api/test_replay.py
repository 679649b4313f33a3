"""Multi-turn conversations: the next prompt begins with the prompt and the tokens before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conftest import Json, Server, StartServer, tool

PAGE_TOKENS = 128
TOOLS = [tool("bash", command="string", timeout="integer")]
# What a model may well write and a client will not give back: newlines at the borders, number
# spellings, spaces in the JSON.
TURNS = [
    {"raw": "\nLet me look.\n</think>\n\nListing.\n\n<\uFF5CDSML\uFF5Ctool_calls>\n"
            "<\uFF5CDSML\uFF5Cinvoke name=\"bash\">\n"
            "<\uFF5CDSML\uFF5Cparameter name=\"command\" string=\"true\">ls -la \"a b\"</\uFF5CDSML\uFF5Cparameter>\n"
            "<\uFF5CDSML\uFF5Cparameter name=\"timeout\" string=\"false\"> 10 </\uFF5CDSML\uFF5Cparameter>\n"
            "</\uFF5CDSML\uFF5Cinvoke>\n</\uFF5CDSML\uFF5Ctool_calls>"},
    {"reasoning": "Two calls at once.",
     "tool_calls": [{"name": "bash", "arguments": {"command": "cat a", "timeout": 1}},
                    {"name": "bash", "arguments": {"command": "cat b", "timeout": 2}}]},
    {"raw": "Done now.</think>\n\nAll is well.\n"},
    {"reasoning": "Again.", "content": "Second answer."},
]


def check_cached(server: Server) -> None:
    """Every request reused all of the one before, but for at most a page."""
    log = server.request_log()
    assert len(log) >= 4
    for before, after in zip(log, log[1:]):
        known = before["prompt_tokens"] + before["completion_tokens"]
        assert after["cached_tokens"] >= known - PAGE_TOKENS, (before, after)
        assert after["divergence"] is None, after


def chat_turn(server: Server, messages: list[Json], keep: str) -> list[Json]:
    """One request; returns the messages with the answer as a client of this kind keeps it."""
    answer = server.ok("/v1/chat/completions", {"messages": messages, "tools": TOOLS})
    message = answer["choices"][0]["message"]
    kept: Json = {"role": "assistant", "content": message["content"]}
    if keep == "all":
        kept["reasoning_content"] = message["reasoning_content"]
    if "tool_calls" in message:
        kept["tool_calls"] = [
            {"id": c["id"], "type": "function",
             "function": {"name": c["function"]["name"],  # written anew, as clients do
                          "arguments": json.dumps(json.loads(c["function"]["arguments"]),
                                                  separators=(",", ":"))}}
            for c in message["tool_calls"]]
        if keep == "empty content" and kept["content"] is None:
            kept["content"] = ""
    messages = [*messages, kept]
    for call in kept.get("tool_calls", []):
        messages.append({"role": "tool", "tool_call_id": call["id"],
                         "content": f"result of {call['function']['arguments']}"})
    return messages


@pytest.mark.parametrize("keep", ["all", "no reasoning", "empty content"])
def test_RowB6_chat_clients_that_forget(serve: StartServer, keep: str) -> None:
    with serve(TURNS) as server:
        messages: list[Json] = [{"role": "system", "content": "You are an agent."},
                                {"role": "user", "content": "Look around."}]
        for _ in range(3):
            messages = chat_turn(server, messages, keep)
        assert messages[-1]["content"] == "All is well.\n"
        messages = chat_turn(server, [*messages, {"role": "user", "content": "And now?"}], keep)
        assert messages[-1]["content"] == "Second answer."
        check_cached(server)
        assert server.request_log()[-1]["replayed_messages"] == 3


def test_RowB6_messages_without_thinking_blocks(serve: StartServer) -> None:
    tools = [{"name": t["function"]["name"], "description": t["function"]["description"],
              "input_schema": t["function"]["parameters"]} for t in TOOLS]
    with serve(TURNS) as server:
        messages: list[Json] = [{"role": "user", "content": "Look around."}]
        for turn in range(4):
            # The line that Claude Code changes with every prompt.
            system = [{"type": "text", "text": f"x-anthropic-billing-header: cch={turn}"},
                      {"type": "text", "text": "You are an agent.",
                       "cache_control": {"type": "ephemeral"}}]
            answer = server.ok("/v1/messages", {"system": system, "messages": messages,
                                                "tools": tools, "max_tokens": 1000})
            assert answer["content"][0]["type"] == "thinking"
            assert len(answer["content"][0]["signature"]) >= 20
            content = [b for b in answer["content"] if b["type"] != "thinking"]
            messages.append({"role": "assistant", "content": content})
            results = [{"type": "tool_result", "tool_use_id": b["id"],
                        "content": [{"type": "text", "text": "result"}]}
                       for b in content if b["type"] == "tool_use"]
            messages.append({"role": "user", "content": results or "And now?"})
            if turn == 0:  # Claude Code does so: the last message of one request, not of the next
                messages.append({"role": "system", "content": "A reminder."})
        check_cached(server)


@pytest.mark.parametrize("keep", ["items", "encrypted only"])
def test_RowB6_responses_items(serve: StartServer, keep: str) -> None:
    tools = [{"type": "function", **t["function"]} for t in TOOLS]
    with serve(TURNS) as server:
        items: list[Json] = [{"role": "developer", "content": "You are an agent."},
                             {"role": "user",
                              "content": [{"type": "input_text", "text": "Look around."}]}]
        for _ in range(4):
            answer = server.ok("/v1/responses", {"input": items, "tools": tools, "store": False,
                                                 "include": ["reasoning.encrypted_content"]})
            output = answer["output"]
            assert output[0]["type"] == "reasoning" and output[0]["encrypted_content"]
            for item in output:
                if item["type"] == "reasoning" and keep == "encrypted only":
                    item = {"type": "reasoning", "id": item["id"], "summary": [],
                            "encrypted_content": item["encrypted_content"]}
                items.append(item)
            calls = [item for item in output if item["type"] == "function_call"]
            items += [{"type": "function_call_output", "call_id": c["call_id"], "output": "r"}
                      for c in calls] or [{"role": "user", "content": "And now?"}]
        check_cached(server)


def test_a_client_cannot_choose_the_bytes(serve: StartServer) -> None:
    """An edited call is rendered as edited, with the reasoning that the server remembers."""
    with serve([TURNS[0], *[{"content": "x"}] * 5]) as server:
        start: list[Json] = [{"role": "user", "content": "go"}]
        messages = chat_turn(server, start, "all")
        honest = server.ok("/v1/chat/completions", {"messages": messages, "tools": TOOLS})
        edited = json.loads(json.dumps(messages))
        edited[1]["tool_calls"][0]["function"]["arguments"] = '{"command": "rm", "timeout": 1}'
        server.ok("/v1/chat/completions", {"messages": edited, "tools": TOOLS})
        assert server.request_log()[-1]["replayed_messages"] == 0
        assert "assistant message 1" in server.request_log()[-1]["divergence"]
        forged = json.loads(json.dumps(messages))
        forged[1]["tool_calls"][0]["id"] = forged[2]["tool_call_id"] = "call_guessed"
        forged[1]["content"] = "Other."
        server.ok("/v1/chat/completions", {"messages": forged, "tools": TOOLS})
        assert server.request_log()[-1]["replayed_messages"] == 0
    assert honest["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


def test_RowB7_an_id_that_stands_twice_is_not_replayed(serve: StartServer) -> None:
    with serve([TURNS[0], {"content": "x"}]) as server:
        messages = chat_turn(server, [{"role": "user", "content": "go"}], "no reasoning")
        twice = [*messages, {"role": "user", "content": "other"}, messages[1], messages[2]]
        server.ok("/v1/chat/completions", {"messages": twice, "tools": TOOLS})
        # The first one is found by its place, the second by nothing.
        assert server.request_log()[-1]["replayed_messages"] == 1


def test_RowB1_B2_missing_reasoning_is_never_an_error(serve: StartServer) -> None:
    messages = [{"role": "user", "content": "go"},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "call_x", "type": "function",
                     "function": {"name": "bash", "arguments": '{"command": "ls"}'}}]},
                {"role": "tool", "tool_call_id": "call_x", "content": "a"}]
    with serve([]) as server:
        reply = server.post("/v1/chat/completions", {"messages": messages, "tools": TOOLS})
        assert reply.status == 200 and "reasoning" in reply.headers["x-baleen-warning"]
        assert server.metric("baleen_missing_reasoning_total") == 1
    with serve([], "--strict-deepseek") as server:
        reply = server.post("/v1/chat/completions", {"messages": messages, "tools": TOOLS})
        assert reply.status == 400
        assert reply.json["error"]["message"] == (
            "The `reasoning_content` in the thinking mode must be passed back to the API.")
        messages[1]["reasoning_content"] = ""
        assert server.post("/v1/chat/completions",
                           {"messages": messages, "tools": TOOLS}).status == 200


def test_RowB4_keep_reasoning_without_tools(serve: StartServer) -> None:
    messages = [{"role": "user", "content": "a"},
                {"role": "assistant", "content": "b", "reasoning_content": "long " * 50},
                {"role": "user", "content": "c"}]
    with serve([]) as server:
        counts = [server.ok("/v1/chat/completions", {"messages": messages, **fields})["usage"]
                  ["prompt_tokens"] for fields in ({}, {"keep_reasoning": True})]
    assert counts[1] - counts[0] == 250 + 1  # the reasoning and <think>


def test_the_cache_decision_is_explained(serve: StartServer) -> None:
    def ask(server: Server, system: str, user: str) -> Any:
        return server.post("/v1/chat/completions", {"messages": [
            {"role": "system", "content": system}, {"role": "user", "content": user}]})

    with serve([]) as server:
        notes = [ask(server, "A" * 300, "one").headers["x-baleen-cache"],
                 ask(server, "A" * 300, "one").headers["x-baleen-cache"],
                 ask(server, "A" * 300, "two").headers["x-baleen-cache"],
                 ask(server, "A" * 200 + "B", "two").headers["x-baleen-cache"]]
    assert "nothing stored begins like this prompt" in notes[0]
    assert "reused" in notes[1] and "diverged" not in notes[1]
    assert "client changed user message 1" in notes[2]
    assert "diverged at token 201: client changed system block" in notes[3]
