"""mini-swe-agent: /v1/chat/completions through litellm, not streamed, its tool `bash`.

It ends a task by a command that prints a marker, and then asks its user, at a terminal, for a new
task: that is the second user turn.
"""

from __future__ import annotations

import shlex

import scenario
from box import Box
from conftest import Serve
from server import KEY, MODEL

MARKER = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
QUESTION = "Enter to quit"


def test_mini_swe_agent(serve: Serve, box: Box) -> None:
    server = serve(scenario.turns("chat", "bash", lambda command: {"command": command},
                                  lambda text: f"echo {MARKER}; echo {shlex.quote(text)}"))
    settings = [f"model.model_kwargs.api_base={server.url}/v1", f"model.model_kwargs.api_key={KEY}"]
    trajectory = box.home / "trajectory.json"
    output = box.converse(
        [(QUESTION, scenario.SECOND_PROMPT), (QUESTION, "")],
        "mini-swe-agent/bin/mini", "--yolo", "--model", f"hosted_vllm/{MODEL}",
        "--task", scenario.FIRST_PROMPT, "--output", trajectory,
        "-c", "mini.yaml", *(word for setting in settings for word in ("-c", setting)),
        MSWEA_CONFIGURED="true", MSWEA_COST_TRACKING="ignore_errors",
        LITELLM_LOCAL_MODEL_COST_MAP="True")
    # It shows the answer of the last task only.
    scenario.check(server, box, trajectory.read_text("utf-8"), output)
