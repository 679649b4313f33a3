"""One user turn of an agent on the openai library: PROVIDER is chat, forgetful or responses.

Streams, lets the library put the pieces together, and sends back what it made of them. The
forgetful one is as careless as many frameworks: messages with calls lose their reasoning, and
arguments come back in another spelling.
"""

from __future__ import annotations

import json
import os
from typing import Any

from openai import OpenAI
from shell_tool import DESCRIPTION, PARAMETERS, SYSTEM, Turn, bash


def chat(client: OpenAI, turn: Turn, messages: list[Any]) -> str:
    function = {"name": "bash", "description": DESCRIPTION, "parameters": PARAMETERS}
    messages += [] if messages else [{"role": "system", "content": SYSTEM}]
    messages.append({"role": "user", "content": turn.prompt})
    while True:
        with client.chat.completions.stream(
                model=turn.model, messages=messages, reasoning_effort="high",
                tools=[{"type": "function", "function": function}],
                stream_options={"include_usage": True}) as stream:
            completion = stream.get_final_completion()
        assert completion.usage.prompt_tokens > 0
        message = completion.choices[0].message
        messages.append(message.to_dict())
        if turn.provider == "forgetful":
            forget(messages[-1])
        if not message.tool_calls:
            return message.content
        for call in message.tool_calls:
            output = bash(json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": output})


def forget(message: dict[str, Any]) -> None:
    for call in message.get("tool_calls") or []:
        message.pop("reasoning_content", None)
        function = call["function"]
        function["arguments"] = json.dumps(json.loads(function["arguments"]), indent=2)


def responses(client: OpenAI, turn: Turn, items: list[Any]) -> str:
    tool = {"type": "function", "name": "bash", "description": DESCRIPTION,
            "parameters": PARAMETERS, "strict": False}
    items.append({"role": "user", "content": turn.prompt})
    while True:
        with client.responses.stream(
                model=turn.model, instructions=SYSTEM, input=items, tools=[tool], store=False,
                reasoning={"effort": "high"}, include=["reasoning.encrypted_content"]) as stream:
            response = stream.get_final_response()
        assert response.usage.input_tokens > 0
        items += [item.to_dict() for item in response.output]
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            return response.output_text
        for call in calls:
            items.append({"type": "function_call_output", "call_id": call.call_id,
                          "output": bash(json.loads(call.arguments))})


def main() -> None:
    turn = Turn.from_command_line()
    client = OpenAI(base_url=f"{turn.url}/v1", api_key=os.environ["BALEEN_KEY"], max_retries=0)
    messages = turn.load()
    run = responses if turn.provider == "responses" else chat
    print(run(client, turn, messages))
    turn.save(messages)


if __name__ == "__main__":
    main()
