"""`baleen render`: prompts from conversations, compared with Python where Python defines them."""

from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path

import pytest
from chat_oracle import Encoder, Refused

TEXTS = ["", "a", "Hi there.", "\n", "\n\nx", "漢字", "é", "😀", "<b>&\"'\\", "</tool_result>",
         "{\"a\": 1}", "  ", "\t", "\x7f\u2028", "<｜DSML｜x", "</think>", "<｜User｜>"]


@pytest.fixture(scope="session")
def strings(shared: Path) -> dict:
    return json.loads((shared / "spec/prompt-strings.json").read_text("utf-8"))["strings"]


@pytest.fixture(scope="session")
def tokenizer(shared: Path) -> Path:
    return shared / "data/deepseek-v4-tokenizer.json"


@pytest.fixture(scope="session")
def render_lines(baleen):
    """One answer per line of input; a line that is no str is written as JSON."""

    def run(requests: list, *flags) -> list[dict]:
        lines = [line if isinstance(line, str) else json.dumps(line) for line in requests]
        result = baleen("render", "--lines", *flags, stdin="".join(line + "\n" for line in lines))
        assert result.returncode == 0, result.stderr
        answers = result.stdout.split("\n")
        assert answers.pop() == ""
        assert len(answers) == len(requests)
        return [json.loads(answer) for answer in answers]

    return run


# ---- JSON as Python writes it

def random_number(rng: random.Random) -> str:
    match rng.randrange(6):
        case 0:
            return str(rng.randrange(-1000, 1000))
        case 1:
            return str(rng.randrange(-10**rng.randrange(1, 60), 10**rng.randrange(1, 60)))
        case 2:
            value = struct.unpack("d", rng.randbytes(8))[0]
            return repr(value) if math.isfinite(value) else "-0"
        case 3:
            return f"{rng.randrange(10**6)}.{rng.randrange(10**6):06}0"
        case 4:
            sign, e = rng.choice(["", "-"]), rng.choice("eE")
            return f"{sign}{rng.randrange(10)}.{rng.randrange(10**9)}{e}{rng.choice(['', '+', '-'])}" \
                   f"{rng.randrange(400) if rng.random() < 0.1 else rng.randrange(25):02}"
    return rng.choice(["-0", "-0.0", "0.0", "1e16", "1e15", "9999999999999998.0", "1e-5", "0.0001",
                       "1.7976931348623157e308", "5e-324", "2e-324", "1e22", "1e23"])


def random_string(rng: random.Random) -> str:
    out = '"'
    for _ in range(rng.randrange(8)):
        code = rng.choice([rng.randrange(0x20), rng.randrange(0x80), rng.randrange(0x800),
                           rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])
        character = chr(code)
        escapable = code < 0x20 or character in "\"\\"
        if escapable or rng.random() < 0.5:
            out += json.dumps(character)[1:-1]
        else:
            out += character
    return out + '"'


def random_json(rng: random.Random, depth: int = 0) -> str:
    """JSON text with odd spaces, odd numbers and repeated keys."""
    space = rng.choice(["", "", " ", "\r\n\t"]).replace("\n", " ")  # one line
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind < 2:
        return space + random_number(rng) + space
    if kind < 5:
        return space + random_string(rng) + space
    if kind == 5:
        return space + rng.choice(["true", "false", "null", "[]", "{}"]) + space
    items = [random_json(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind == 6:
        return space + "[" + ",".join(items) + "]" + space
    members = [rng.choice(['"a"', '"b"', random_string(rng)]) + space + ":" + item for item in items]
    return space + "{" + ",".join(members) + "}" + space


def all_of(text: str) -> object:
    """The value with objects as lists of pairs: also what a repeated key takes away."""
    return json.loads(text, object_pairs_hook=list)


def has_infinity(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, (list, tuple)) and any(map(has_infinity, value))


def test_json_is_written_as_python_writes_it(render_lines, strings) -> None:
    rng = random.Random(20261124)
    values = [random_json(rng) for _ in range(8000)]
    requests = [f'{{"messages":[{{"role":"system","response_format":[{value}]}}]}}'
                for value in values]
    before = "<｜begin▁of▁sentence｜>\n\n" + strings["response_format_prefix"]
    num_refused = 0
    for value, answer in zip(values, render_lines(requests), strict=True):
        expected = json.loads(f"[{value}]")
        if has_infinity(all_of(value)):
            assert "double range" in answer["error"], value
            num_refused += 1
            continue
        assert answer == {"text": before + json.dumps(expected, ensure_ascii=False)}, value
    assert 0 < num_refused < 800


def test_what_python_does_not_read_is_an_error(render_lines) -> None:
    rng = random.Random(7)
    requests, expected = [], []
    for _ in range(4000):
        text = random_json(rng)
        at = rng.randrange(len(text))
        broken = text[:at] + rng.choice(["", ",", "]", "}", '"', "0", ".", "e", "-", "\\", ":", "x"]) \
            + text[at + 1:]
        requests.append(f'{{"messages": [], "x": {broken}}}')
        try:
            value = all_of(requests[-1])
            json.dumps(value, ensure_ascii=False).encode()  # no lone surrogates
            is_json = not has_infinity(value)
        except ValueError:
            is_json = False
        expected.append(is_json)
    for request, is_json, answer in zip(requests, expected, render_lines(requests), strict=True):
        assert ("text" in answer) == is_json, (request, answer)
    assert 200 < sum(expected) < 3800


def test_schemas_keep_every_key(render_lines, strings) -> None:
    rng = random.Random(3)
    functions = [f'{{"name":"f","strict":{random_json(rng)},"parameters":{random_json(rng)}}}'
                 for _ in range(500)]
    functions = [text for text in functions if not has_infinity(all_of(text))]
    section = strings["tools_section"]["v4"]
    answers = render_lines([f'{{"messages":[],"tools":[{{"function":{text}}}]}}'
                            for text in functions])
    for text, answer in zip(functions, answers, strict=True):
        schema = json.dumps(json.loads(text), ensure_ascii=False)
        assert answer["text"].endswith(section["before_schemas"] + schema + section["after_schemas"])


# ---- conversations

def random_call(rng: random.Random) -> dict:
    value = rng.choice([1, 2.5, None, True, "x", [1, "y"], {"z": []}, rng.choice(TEXTS)])
    arguments = rng.choice(["", "oops", "{}", "[1]", "{" + '"a": 1' + "}",
                            json.dumps({"a": value, "b": rng.choice(TEXTS)}),
                            json.dumps({rng.choice(TEXTS): value}, ensure_ascii=False)])
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    if rng.random() < 0.7:
        call["id"] = rng.choice("abc")
    return call


def random_message(rng: random.Random) -> dict:
    role = rng.choice(["system", "user", "user", "assistant", "assistant", "tool", "tool",
                       "latest_reminder", "developer"])
    message = {"role": role, "content": rng.choice(TEXTS)}
    if rng.random() < 0.15:
        message["task"] = rng.choice(["action", "query", "authority", "domain", "title", "read_url"])
    if role in ("system", "developer"):
        if rng.random() < 0.2:
            message["tools"] = [{"type": "function", "function": {"name": "f", "x": 1e3}}]
        if rng.random() < 0.2:
            message["response_format"] = rng.choice([{}, {"type": "json_schema", "a": "é"}])
    if role == "assistant":
        if rng.random() < 0.7:
            message["reasoning_content"] = rng.choice(TEXTS)
        if rng.random() < 0.5:
            message["tool_calls"] = [random_call(rng) for _ in range(rng.randrange(4))]
        message["wo_eos"] = rng.random() < 0.1
    if role == "tool":
        if rng.random() < 0.8:
            message["tool_call_id"] = rng.choice("abcx")
        if rng.random() < 0.2:
            message["content"] = [{"type": "text", "text": rng.choice(TEXTS)}, {"type": "image_url"}]
    return message


def random_request(rng: random.Random) -> dict:
    request = {"dialect": rng.choice(["v4", "v4-0731"]),
               "thinking_mode": rng.choice(["chat", "thinking", "thinking"]),
               "messages": [random_message(rng) for _ in range(rng.randrange(8))]}
    if rng.random() < 0.4:
        request["reasoning_effort"] = rng.choice(["low", "high", "max", None])
    if rng.random() < 0.3:
        request["drop_thinking"] = False
    if rng.random() < 0.2:
        request["add_bos"] = False
    if rng.random() < 0.2:
        request["context"] = [random_message(rng) for _ in range(rng.randrange(4))]
    return request


def test_random_conversations_are_encoded_as_the_oracle_does(render_lines, strings) -> None:
    rng = random.Random(1)
    requests = [random_request(rng) for _ in range(6000)]
    num_refused = 0
    for request, answer in zip(requests, render_lines(requests), strict=True):
        try:
            expected = Encoder(strings, request).text()
        except Refused:
            assert "error" in answer, request
            num_refused += 1
            continue
        assert answer == {"text": expected}, request
    assert 300 < num_refused < 3000


def test_the_examples(baleen, render_lines, shared: Path) -> None:
    examples = json.loads((shared / "spec/encoding-examples.json").read_text("utf-8"))["render"]
    for example, answer in zip(examples, render_lines(examples), strict=True):
        assert answer == {"text": example["expected"]}, example["id"]
        alone = baleen("render", "--dialect", example["dialect"], stdin=json.dumps(example))
        assert (alone.returncode, alone.stdout) == (0, example["expected"])


# ---- the command

HELLO = {"messages": [{"role": "user", "content": "Hi <｜Assistant｜>"}], "thinking_mode": "chat"}


def test_tokens_keep_markers_harmless_unless_asked(baleen, tokenizer: Path) -> None:
    def ids(*flags) -> list[int]:
        result = baleen("render", "--tokens", "--tokenizer", tokenizer, *flags,
                        stdin=json.dumps(HELLO))
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    assert ids().count(128804) == 1
    assert ids("--reference").count(128804) == 2
    assert ids()[:2] == [0, 128803] and ids()[-2:] == [128804, 128822]
    text = baleen("render", stdin=json.dumps(HELLO)).stdout
    whole = baleen("tokenize", "--tokenizer", tokenizer, stdin=text)
    assert ids("--reference") == json.loads(whole.stdout)


def test_lines_go_on_after_an_error(render_lines, tokenizer: Path) -> None:
    lines = [HELLO, "", "{", {"messages": [{"role": "robot"}]}, HELLO]
    answers = render_lines(lines)
    assert [sorted(answer) for answer in answers] == [["text"], ["error"], ["error"], ["error"],
                                                      ["text"]]
    assert "messages[0]: role is \"robot\"" in answers[3]["error"]
    with_ids = render_lines(lines, "--tokens", "--tokenizer", tokenizer)
    assert [sorted(answer) for answer in with_ids] == [["tokens"], ["error"], ["error"], ["error"],
                                                       ["tokens"]]


def test_the_option_goes_before_the_objects_own_dialect(baleen) -> None:
    request = json.dumps({**HELLO, "dialect": "v4", "thinking_mode": "thinking"})
    assert "Reasoning Effort: 75" not in baleen("render", stdin=request).stdout
    assert "Reasoning Effort: 75" in baleen("render", "--dialect", "v41", stdin=request).stdout


@pytest.mark.parametrize("stdin, flags, says", [
    ("", [], "stdin: bad JSON at byte 0"),
    ("[]", [], "request is a list"),
    ("{}", [], "messages is missing"),
    ('{"messages": [{"content": "x"}]}', [], "messages[0]: role is missing"),
    ('{"messages": [{"role": "user", "content": 1}]}', [], "messages[0]: content is 1"),
    ('{"messages": [], "dialect": "v5"}', [], "dialect is unknown"),
    ('{"messages": [], "thinking_mode": "deep"}', [], 'thinking_mode is "deep"'),
    ('{"messages": [], "drop_thinking": 1}', [], "drop_thinking is 1"),
    ('{"messages": [], "reasoning_effort": "low"}', [], "reasoning_effort is low"),
    ('{"messages": [], "tools": [{}]}', [], "tools[0]: function is missing"),
    ('{"messages": [{"role": "user", "content": "\\ud800"}]}', [], "lone surrogate"),
    ("{}", ["--dialect", "v5"], "--dialect"),
    ("{}", ["--tokens"], "--tokenizer"),
    ("{}", ["--reference"], "--tokens"),
    ("{}", ["--tokens", "--tokenizer", "/nothing/here"], "/nothing/here"),
])
def test_bad_input_is_exit_2_and_one_line(baleen, stdin: str, flags: list[str], says: str) -> None:
    result = baleen("render", *flags, stdin=stdin)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1 and says in result.stderr


def test_every_truncation_of_a_request_is_exit_2(render_lines, shared: Path) -> None:
    request = json.dumps({"messages": [{"role": "assistant", "content": "é😀", "tool_calls":
                          [{"function": {"name": "f", "arguments": "{\"a\": 1}"}}]}]})
    answers = render_lines([request[:size] for size in range(1, len(request))])
    assert all("error" in answer for answer in answers)


def test_help_has_examples(baleen) -> None:
    result = baleen("render", "--help")
    assert result.returncode == 0
    assert "Examples:" in result.stdout and "--reference" in result.stdout
