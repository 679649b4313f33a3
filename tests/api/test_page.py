"""The chat page in a headless Chromium, with real mouse and key events, against a real server on the
tiny checkpoint. BALEEN_SCREENSHOTS=FOLDER keeps what it looked like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import Browser, Page
from conftest import Server

Json = dict[str, Any]

MARKDOWN = """Whales are **filter feeders**, at least the *baleen* ones.

## How it works

1. Open the mouth
2. Take in water with `krill`
   - up to 80 t

```python
def lunge(whale):
    return whale.mouth_m3 * 1025.0
```

| species | length |
|---|---|
| Blue whale | 30 m |

<img src=x onerror="document.title='taken'"><script>document.title = 'taken'</script>
[a link](javascript:document.title='taken') and [another](https://example.org/)"""
THOUGHT = "The user asks about whales. I stay short and say what baleen is for."
LONG = "krill " * 400
TURNS: list[Json] = [
    {"when": {"contains": "weather", "tools": True}, "reasoning": "I have to look.",
     "content": "I look it up.", "repeat": True,
     "tool_calls": [{"name": "get_weather", "arguments": {"city": "Bergen", "unit": "celsius"}},
                    {"name": "get_weather", "arguments": {"city": "Oslo"}}]},
    {"when": {"last_role": "tool"}, "reasoning": "Two numbers.", "repeat": True,
     "content": "Bergen 12, Oslo 9."},
    {"when": {"contains": "long"}, "reasoning": "Much.", "content": LONG, "repeat": True},
    {"when": {"contains": "whales"}, "reasoning": THOUGHT, "content": MARKDOWN, "repeat": True},
    {"reasoning": "Hm.", "content": "An answer.", "repeat": True},
]
SIZES = {"phone": (390, 844, True), "desk": (1280, 800, False), "narrow": (360, 640, True)}
IDLE = "document.querySelector('#send').dataset.shows === 'send'"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser") / "profile")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def server(serve) -> Iterator[Server]:
    with serve({"turns": TURNS}, "--context", "8192", "--threads", "1") as server:
        yield server


def url(server: Server) -> str:
    return f"http://{server.host}:{server.port}/"


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, url(server), request.param)


@pytest.fixture
def desk(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, url(server), "desk")


def opened(browser: Browser, address: str, size: str) -> Iterator[Page]:
    width, height, is_mobile = SIZES[size]
    page = browser.page(width, height, mobile=is_mobile, dark=size == "phone")
    page.name = size
    try:
        page.goto(address)
        page.wait("document.querySelector('#empty-facts').textContent")
        yield page
        assert page.complaints() == []
        # Nothing sticks out sideways.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        page.close()


def keep_picture(page: Page, name: str) -> None:
    folder = os.environ.get("BALEEN_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(Path(folder) / f"{page.name}-{name}.png")


def say(page: Page, text: str) -> None:
    page.click("#input")
    page.type(text)
    page.press("Enter")


def wait_answers(page: Page, count: int) -> None:
    page.wait(f"{IDLE} && document.querySelectorAll('.assistant').length === {count}")


def last(selector: str) -> str:
    return f".message:last-child {selector}"


def test_an_answer_streams_with_its_reasoning_folded(page: Page) -> None:
    keep_picture(page, "empty")
    assert page.text("#m-context").startswith("0 of ")
    say(page, "Tell me about whales")
    page.wait("document.querySelector('.reasoning .label')?.textContent")
    assert page.evaluate("document.querySelector('#log').getAttribute('aria-busy')") == "true"
    wait_answers(page, 1)
    assert page.evaluate("document.querySelector('#log').getAttribute('aria-busy')") == "false"
    keep_picture(page, "answer")
    assert page.text(".said") == "Tell me about whales"
    assert not page.evaluate("document.querySelector('.reasoning').open")
    assert THOUGHT not in page.text("#log")
    label = page.text(".reasoning .label")
    assert label.startswith("Thought · ") and " tokens · " in label and label.endswith(" s")
    page.click(".reasoning summary")
    page.wait("document.querySelector('.reasoning').open")
    assert page.text(".thought") == THOUGHT
    keep_picture(page, "reasoning")


def test_marks_become_elements_and_markup_stays_text(desk: Page) -> None:
    say(desk, "Tell me about whales")
    wait_answers(desk, 1)
    shown = desk.evaluate("""(() => { const a = document.querySelector('.answer'); return {
        strong: a.querySelector('strong').textContent, em: a.querySelector('em').textContent,
        heading: a.querySelector('h4').textContent, items: a.querySelectorAll('ol > li').length,
        nested: a.querySelector('ol ul li').textContent, code: a.querySelector('li code').textContent,
        block: a.querySelector('pre').textContent, language: a.querySelector('.code span').textContent,
        cells: [...a.querySelectorAll('td')].map((c) => c.textContent),
        foreign: a.querySelectorAll('img, script').length,
        links: [...a.querySelectorAll('a')].map((l) => l.href)}; })()""")
    assert shown == {
        "strong": "filter feeders", "em": "baleen", "heading": "How it works", "items": 2,
        "nested": "up to 80 t", "code": "krill",
        "block": "def lunge(whale):\n    return whale.mouth_m3 * 1025.0", "language": "python",
        "cells": ["Blue whale", "30 m"], "foreign": 0, "links": ["https://example.org/"]}
    assert "<script>document.title = 'taken'</script>" in desk.text(".answer")
    assert "taken" not in desk.evaluate("document.title")


def test_the_meters_move(page: Page, server: Server) -> None:
    before = page.text("#m-kv")
    say(page, "Tell me about whales")
    wait_answers(page, 1)
    first = server.request_log()[-1]
    used = first["prompt_tokens"] + first["completion_tokens"]
    assert page.text("#m-context").replace(",", "").startswith(f"{used} of ")
    bar = "document.querySelector('#m-bar')"
    assert page.evaluate(f"{bar}.getAttribute('aria-valuenow')") == str(used)
    assert float(page.evaluate(f"{bar}.firstElementChild.style.width").rstrip("%")) > 0
    assert page.text("#m-speed").endswith(" tok/s")
    page.wait(f"document.querySelector('#m-kv').textContent !== {before!r} || {before!r} !== '0 B'")
    assert page.text("#m-kv").endswith("B") and page.text("#m-kv") != "0 B"
    say(page, "And more of them")
    wait_answers(page, 2)
    second = server.request_log()[-1]
    assert second["cached_tokens"] > 0
    assert page.text("#m-cached").replace(",", "").startswith(str(second["cached_tokens"]))


def test_modes_reach_the_model(page: Page) -> None:
    say(page, "Hello")
    wait_answers(page, 1)
    assert page.evaluate("!document.querySelector('.reasoning').hidden")
    page.click("#mode input[value=off]")
    say(page, "Hello again")
    wait_answers(page, 2)
    assert page.evaluate("document.querySelectorAll('.reasoning:not([hidden])').length") == 1
    page.click("#mode input[value=max]")  # the context is too small for it: the server says so
    say(page, "And again")
    wait_answers(page, 3)
    assert page.evaluate("document.querySelectorAll('.reasoning:not([hidden])').length") == 2
    assert "answered at high" in page.text(last(".note"))
    page.reload()
    page.wait("document.querySelectorAll('.assistant').length === 3")
    assert page.evaluate("document.querySelector('#mode input:checked').value") == "max"


def declare_tools(page: Page) -> None:
    page.click("#setup")
    page.click("#tools-example")
    keep_picture(page, "setup")
    page.click("#setup-form button[type=submit]")
    page.wait("!document.querySelector('#setup-dialog').open")


def test_a_tool_call_is_shown_answered_and_goes_on(page: Page, server: Server) -> None:
    declare_tools(page)
    say(page, "The weather, please")
    page.wait("document.querySelectorAll('.call form').length === 2")
    keep_picture(page, "call")
    assert page.text(".call b") == "get_weather"
    assert page.text(".call pre") == '{\n  "city": "Bergen",\n  "unit": "celsius"\n}'
    page.click(".call:nth-child(2) textarea")  # the second one first
    page.type("9")
    page.click(".call:nth-child(2) button[type=submit]")
    page.wait("document.querySelectorAll('.call form').length === 1")
    page.click(".call:nth-child(1) textarea")
    page.type('{"degrees": 12}')
    page.press("Enter")
    wait_answers(page, 2)
    keep_picture(page, "call-answered")
    assert page.text(last(".answer")) == "Bergen 12, Oslo 9."
    assert page.text(".call:nth-child(1) .result") == '{"degrees": 12}'
    assert server.request_log()[-1]["scripted_turn"] == 1
    # Sent in the order of the calls, whatever the order of the answers.
    results = page.evaluate("chat.messages.filter((m) => m.role === 'tool').map((m) => m.content)")
    assert results == ['{"degrees": 12}', "9"]


def test_writing_on_leaves_no_call_without_a_result(desk: Page) -> None:
    declare_tools(desk)
    say(desk, "The weather, please")
    desk.wait("document.querySelectorAll('.call form').length === 2")
    say(desk, "Never mind")
    wait_answers(desk, 2)
    assert desk.text(last(".answer")) == "An answer."
    assert desk.evaluate("document.querySelectorAll('.call .result').length") == 2


def test_tools_that_are_no_tools_are_refused(desk: Page) -> None:
    for text, expected in [("{", "JSON"), ('{"a": 1}', "expected a list"),
                           ('[{"type": "function"}]', "has no function.name")]:
        desk.click("#setup")
        desk.evaluate("document.querySelector('#tools').value = ''")
        desk.click("#tools")
        desk.type(text)
        desk.click("#setup-form button[type=submit]")
        desk.wait("document.querySelector('#tools-wrong').textContent")
        assert expected in desk.text("#tools-wrong")
        assert desk.evaluate("document.querySelector('#setup-dialog').open")
        desk.click("#setup-cancel")


def test_stop_keeps_what_came_and_the_chat_goes_on(page: Page, server: Server) -> None:
    say(page, "A long story")
    page.wait("document.querySelector('.answer')?.textContent.includes('krill krill')")
    page.click("#send")
    page.wait(f"{IDLE} && document.querySelector('.note')")
    assert page.text(".note") == "Stopped."
    got = page.evaluate("chat.messages[1].content")
    assert got.startswith("krill krill") and len(got) < len(LONG)
    keep_picture(page, "stopped")
    say(page, "Go on")
    wait_answers(page, 2)
    assert page.text(last(".answer")) == "An answer."
    assert server.metric("baleen_cancelled_requests_total") >= 1


def test_escape_stops(desk: Page) -> None:
    say(desk, "A long story")
    desk.wait("document.querySelector('.answer')?.textContent.includes('krill krill')")
    desk.press("Escape")
    desk.wait(f"{IDLE} && document.querySelector('.note')?.textContent === 'Stopped.'")


def test_retry_and_edit_replace_what_followed(desk: Page, server: Server) -> None:
    say(desk, "Hello")
    wait_answers(desk, 1)
    say(desk, "Tell me about whales")
    wait_answers(desk, 2)
    requests = len(server.request_log())
    desk.click(last(".actions button:last-child"))
    desk.wait(f"{IDLE} && document.querySelectorAll('.assistant').length === 2")
    assert len(server.request_log()) == requests + 1
    desk.click(".message:nth-child(1) .actions button")
    assert desk.evaluate("document.querySelector('#input').value") == "Hello"
    desk.click("#edit-cancel")
    assert desk.evaluate("document.querySelector('#input').value") == ""
    desk.click(".message:nth-child(1) .actions button")
    desk.type(" there")
    desk.press("Enter")
    wait_answers(desk, 1)
    assert desk.text(".said") == "Hello there"
    assert desk.evaluate("chat.messages.length") == 2


def test_enter_sends_and_shift_enter_breaks_the_line(desk: Page) -> None:
    desk.click("#input")
    desk.press("Enter")
    assert desk.evaluate("document.querySelectorAll('.message').length") == 0
    desk.type("one")
    desk.press("Enter", shift=True)
    desk.type("two")
    desk.press("Enter")
    wait_answers(desk, 1)
    assert desk.text(".said") == "one\ntwo"


def test_chats_are_kept_opened_and_deleted(page: Page) -> None:
    def menu() -> None:
        if page.name != "desk":
            page.click("#menu")
            page.wait("document.querySelector('#side').getBoundingClientRect().x === 0")

    say(page, "First whales")
    wait_answers(page, 1)
    menu()
    page.click("#new-chat")
    page.wait("document.querySelectorAll('.message').length === 0")
    say(page, "Second chat")
    wait_answers(page, 1)
    page.reload()
    page.wait("document.querySelectorAll('.message').length === 2")
    assert page.text(".said") == "Second chat"
    menu()
    page.wait("document.querySelectorAll('#chats li').length === 2")
    keep_picture(page, "chats")
    page.click("#chats li:nth-child(2) .open")
    page.wait("document.querySelector('.said').innerText === 'First whales'")
    assert "filter feeders" in page.text(".answer")
    menu()
    page.click("#chats li.here .icon")
    page.wait("document.querySelectorAll('#chats li').length === 1")
    page.reload()
    page.wait("document.querySelectorAll('.message').length === 2")
    assert page.text(".said") == "Second chat"


def test_the_system_prompt_and_sampling_are_sent(desk: Page) -> None:
    desk.click("#setup")
    desk.click("#system")
    desk.type("Be brief.")
    desk.click("#max-tokens")
    desk.type("3")
    desk.click("#setup-form button[type=submit]")
    say(desk, "A long story")
    wait_answers(desk, 1)
    assert desk.text(".note") == "Cut off: the limit of tokens was reached."
    body = desk.evaluate("JSON.parse(requestBody())")
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["max_tokens"] == 3 and body["reasoning_effort"] == "high"


def test_a_key_is_asked_for_only_when_the_server_wants_one(browser: Browser, serve) -> None:
    with serve({"turns": TURNS}, "--api-key", "secret") as server:
        page = browser.page(1280, 800)
        page.goto(url(server))
        page.wait("document.querySelector('#key-dialog').open")
        page.click("#key")
        page.type("wrong")
        page.press("Enter")
        page.wait("document.querySelector('#key-wrong').textContent.includes('not accept')")
        page.click("#key")
        page.type("secret")
        page.press("Enter")
        page.wait("!document.querySelector('#key-dialog').open && models")
        say(page, "Hello")
        wait_answers(page, 1)
        assert page.text(".answer") == "An answer."
        page.reload()
        page.wait("models && document.querySelectorAll('.message').length === 2")
        assert not page.evaluate("document.querySelector('#key-dialog').open")
        assert page.evaluate("JSON.stringify(localStorage).includes('secret')") is False
        page.close()


def test_errors_are_told_and_can_be_retried(browser: Browser, serve) -> None:
    with serve({"turns": TURNS}, "--context", "256") as server:
        page = browser.page(390, 844, mobile=True)
        page.name = "phone"
        page.goto(url(server))
        say(page, "word " * 300)
        page.wait("document.querySelector('.note.alarm')")
        keep_picture(page, "error")
        assert "too long" in page.text(".note.alarm")
        page.click("article.user .actions button")
        page.evaluate("document.querySelector('#input').value = ''")
        say(page, "Hello")
        wait_answers(page, 1)
        assert page.text(".answer") == "An answer."
    page.wait("!document.querySelector('#offline').hidden")
    say(page, "Anyone?")
    page.wait("document.querySelector('.note.alarm')")
    assert page.text(".note.alarm") == "The server cannot be reached."
    page.close()


def test_every_control_has_a_name(page: Page) -> None:
    say(page, "Hello")
    wait_answers(page, 1)
    nameless = page.evaluate("""[...document.querySelectorAll('button, input, textarea, [role=meter]')]
        .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))
        .map((e) => e.outerHTML)""")
    assert nameless == []


def test_the_document_is_whole_and_asks_for_nothing_else(server: Server) -> None:
    reply = server.request("GET", "/")
    text = reply.body.decode()
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "@include" not in text and text.rstrip().endswith("</html>")
    for mark in ("src=", "@import", "url(", "innerHTML", "eval("):
        assert mark not in text, mark
