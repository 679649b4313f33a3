"""Turns without calls: small talk, and what only the conversation or the own reasoning tells."""

from __future__ import annotations

from .families import Family
from .scene import Last, Scene, Unfit

# Intent -> (answer, words of which one must occur in any answer).
FIXED: dict[str, tuple[str, tuple[str, ...]]] = {
    "greet": ("hello. how can i help?", ("hello", "hi", "help")),
    "thank": ("you are welcome.", ("welcome", "glad", "pleasure")),
    "goodbye": ("goodbye.", ("goodbye", "bye")),
    "who_are_you": ("i am baleen, a small assistant.", ("baleen", "assistant")),
}
TOOLS = ("read", "list", "grep", "write", "shell", "calculator")


def small_talk(scene: Scene) -> None:
    intent = scene.rng.choice(("greet", "thank", "goodbye", "who_are_you"))
    text, words = FIXED[intent]
    turn = scene.turn(intent, intent)
    turn.answer("no tool is needed.", text, any=list(words))


def which_tools(scene: Scene) -> None:
    turn = scene.turn("which_tools", "which_tools")
    turn.answer("i name my tools.", "i can use read, list, grep, write, shell and calculator.",
                answer=list(TOOLS))


def repeat_word(scene: Scene) -> None:
    word = scene.names.word()
    turn = scene.turn("repeat_word", "repeat_word", word=word)
    turn.answer("no tool is needed.", f"{word}.", answer=[word])


def remember(scene: Scene) -> None:
    if scene.remembered:
        raise Unfit
    word = scene.names.word()
    turn = scene.turn("remember", "remember", word=word)
    turn.answer(f"the word is {word}.", f"i will remember {word}.", answer=[word])
    scene.remembered = word


def recall_word(scene: Scene) -> None:
    word = scene.remembered
    if not word:
        raise Unfit
    turn = scene.turn("recall_word", "recall_word")
    turn.answer(f"the word is {word}.", f"your word is {word}.", Last("recall_word", word),
                answer=[word])


def first_question(scene: Scene) -> None:
    if not scene.tasks:
        raise Unfit
    first = scene.tasks[0].user_text
    turn = scene.turn("first_question", "first_question")
    turn.answer("i look at the first message.", f"your first message was: {first}", answer=[first])


def choose_word(scene: Scene) -> None:
    """A secret choice: it stands in the reasoning only, so it needs reasoning that is kept."""
    if not scene.thinks or scene.choice:
        raise Unfit
    options = scene.names.different_words(scene.rng.randint(3, 5))
    said = scene.rng.choice(options)
    turn = scene.turn("choose_word", "choose_word", ("choose one word", "do not say it"),
                      options=", ".join(options))
    turn.answer(f"i choose {said}.", "ready.", check=f"{said} is one of the words",
                reasoning={"options": options})
    scene.choice = {"turn": len(scene.tasks) - 1, "said": said, "options": options}


def choose_number(scene: Scene) -> None:
    """A secret number: not even the choices stand in the conversation."""
    if not scene.thinks or scene.choice:
        raise Unfit
    digits = scene.rng.randint(2, 4)
    said = scene.names.number(digits)
    turn = scene.turn("choose_number", "choose_number", ("think of a number", "do not say it"),
                      digits=str(digits))
    turn.answer(f"my number is {said}.", "ready.", check=f"{said} has the right length",
                reasoning={"digits": digits})
    scene.choice = {"turn": len(scene.tasks) - 1, "said": said, "digits": digits}


def recall_choice(scene: Scene) -> None:
    choice = scene.choice
    if not choice:
        raise Unfit
    said, is_word = choice["said"], "options" in choice
    intent = "recall_choice" if is_word else "recall_number"
    turn = scene.turn(intent, intent)
    turn.answer(f"i chose {said}." if is_word else f"my number is {said}.",
                f"i chose {said}." if is_word else f"my number was {said}.",
                Last(intent, said), recall={key: choice[key] for key in ("turn", "options", "digits")
                                            if key in choice})
    scene.choice = None


TALK: dict[str, Family] = {
    function.__name__: function for function in (
        small_talk, which_tools, repeat_word, remember, recall_word, first_question, choose_word,
        choose_number, recall_choice)}
