"""One user turn of an agent on litellm: PROVIDER is litellm's prefix of the model name."""

from __future__ import annotations

import json
import os
from typing import Any

import litellm
from shell_tool import DESCRIPTION, PARAMETERS, SYSTEM, Turn, bash

FUNCTION = {"name": "bash", "description": DESCRIPTION, "parameters": PARAMETERS}


def chat(turn: Turn, messages: list[Any]) -> str:
    messages += [] if messages else [{"role": "system", "content": SYSTEM}]
    messages.append({"role": "user", "content": turn.prompt})
    while True:
        chunks = litellm.completion(
            model=f"{turn.provider}/{turn.model}", messages=messages, stream=True,
            tools=[{"type": "function", "function": FUNCTION}], max_tokens=32000,
            stream_options={"include_usage": True}, api_base=api_base(turn), num_retries=0,
            api_key=os.environ["BALEEN_KEY"])
        response = litellm.stream_chunk_builder(list(chunks), messages=messages)
        message = response.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            return message.content
        for call in message.tool_calls:
            output = bash(json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": output})


def api_base(turn: Turn) -> str:
    return turn.url if turn.provider == "anthropic" else f"{turn.url}/v1"


def main() -> None:
    turn = Turn.from_command_line()
    litellm.telemetry = False
    messages = turn.load()
    print(chat(turn, messages))
    turn.save(messages)


if __name__ == "__main__":
    main()
