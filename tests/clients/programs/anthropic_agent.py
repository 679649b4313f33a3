"""One user turn of an agent on the anthropic library: PROVIDER is messages or forgetful.

Streams, and sends back the blocks that the library put together; the forgetful one leaves out the
thinking of messages with calls. Each request is counted by count_tokens as well.
"""

from __future__ import annotations

import os
from typing import Any

from anthropic import Anthropic
from shell_tool import DESCRIPTION, PARAMETERS, SYSTEM, Turn, bash

TOOL = {"name": "bash", "description": DESCRIPTION, "input_schema": PARAMETERS}


def messages_api(client: Anthropic, turn: Turn, messages: list[Any]) -> str:
    messages.append({"role": "user", "content": turn.prompt})
    while True:
        request = {"model": turn.model, "system": SYSTEM, "messages": messages, "tools": [TOOL],
                   "thinking": {"type": "enabled", "budget_tokens": 16000}}
        counted = client.messages.count_tokens(**request)
        with client.messages.stream(max_tokens=32000, **request) as stream:
            message = stream.get_final_message()
        usage = message.usage
        assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
        calls = [block for block in message.content if block.type == "tool_use"]
        forget = turn.provider == "forgetful" and calls
        messages.append({"role": "assistant", "content": [
            block.to_dict(exclude_none=True) for block in message.content
            if not (forget and block.type == "thinking")]})
        if not calls:
            return "".join(block.text for block in message.content if block.type == "text")
        messages.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call.id, "content": bash(call.input)}
            for call in calls]})


def main() -> None:
    turn = Turn.from_command_line()
    client = Anthropic(base_url=turn.url, api_key=os.environ["BALEEN_KEY"], max_retries=0)
    messages = turn.load()
    print(messages_api(client, turn, messages))
    turn.save(messages)


if __name__ == "__main__":
    main()
