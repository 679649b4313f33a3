"""What users of the tool world say: for every intent many wordings, split into train and held-out.

A pattern is a text with alternatives `{a|b}` and slots `<name>`. Its expansions, slots unfilled, are
the intent's wordings. A wording belongs to the held-out split by its hash (a fifth does), so no
held-out wording is ever seen in training, though its parts are. Polite words around a wording are
drawn freely and do not count as another wording.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from functools import cache
from random import Random

SPLITS = ("train", "heldout")
HELDOUT_WORDINGS = 5  # one of so many
SLOT = re.compile(r"<(\w+)>")
ALTERNATIVES = re.compile(r"\{([^{}]*)\}")

BEFORE = ("", "", "", "please ", "now ", "can you ", "could you ", "ok, ", "next, ")
AFTER = ("", ".", ".", " please.", " for me.")

# Intents whose wordings are requests ("read ..."): they get polite words around them.
REQUESTS: dict[str, tuple[str, ...]] = {
    "read_value": (
        "{tell me|give me|find|get|look up|read|show me} {the value of <key>|<key>|what <key> is} "
        "{in|from} {<path>|the file <path>}",
        "{read|open|look in|look at|check} {<path>|the file <path>} and "
        "{tell me|give me|say|report} {the value of <key>|<key>|what <key> is}",
    ),
    "read_first": (
        "{show|give|read|tell} me the first <count> of {<path>|the file <path>}",
        "{read|print|show|get|list} {just |only |}the first <count> {of|from|in} "
        "{<path>|the file <path>}",
        "{open|look at} <path> and {show|give|tell} me the first <count>",
    ),
    "read_all": (
        "{read|open|print|show|show me} {<path>|the file <path>|all of <path>}",
        "{tell me|say|show me|find out} {what <path> says|what is in <path>|the text of <path>}",
        "{open|read} {<path>|the file <path>} and {tell me what it says|show me the text|print it}",
    ),
    "list_count": (
        "{count|tell me the number of} {the files|files|all files} in "
        "{<folder>|the folder <folder>|the <folder> folder}",
        "{look in|list|check} {<folder>|the folder <folder>|the <folder> folder} and "
        "{count the files|say how many files there are|tell me how many files it has}",
        "{tell me|say|find out} how many files {there are in|are in} {<folder>|the folder <folder>}",
    ),
    "list_names": (
        "{list|show|name|print} {the files|all files|every file} in "
        "{<folder>|the folder <folder>|the <folder> folder}",
        "{tell me|show me|say} {which files are in|what is in the folder} <folder>",
        "{look in|open} {the folder <folder>|the <folder> folder} and "
        "{list the files|name the files|tell me the names}",
    ),
    "grep_file": (
        "{find|look for|search for} the file {that mentions|that contains|that has|with} "
        "{<word>|the word <word>}",
        "{tell me|find out|say} {which|what} file {mentions|contains|has} {<word>|the word <word>}",
        "{search|look through} {all files|the files|everything} for {<word>|the word <word>} and "
        "{name the file|tell me the file}",
    ),
    "grep_value": (
        "{search|look through} {all files|the files|everything} for {the key <key>|the value of "
        "<key>} and {give me|tell me|say} {the value|it}",
        "{find|look up|get} {the key <key>|the value of <key>|the value of the key <key>} "
        "{in the files|in any file|somewhere in the files|wherever it is}",
        "{find out|tell me} what {the key <key>|<key>} is set to{| in the files| somewhere}",
    ),
    "grep_line": (
        "{find|give me|get|show me} the line number of {<word>|the word <word>} in "
        "{<path>|the file <path>}",
        "{tell me|find out|say} {on which line|on what line|in which line} of "
        "{<path>|the file <path>} {the word <word> is|<word> is|<word> stands}",
    ),
    "write_text": (
        "{write|save|put|store} {<text>|the text <text>|the words <text>} "
        "{to|into|in} {<path>|the file <path>}",
        "{make|create} {a file <path>|the file <path>|a new file <path>} "
        "{with the text|that says|containing|with the words} <text>",
    ),
    "count_lines": (
        "{count the lines|count all lines|give me the line count|get the number of lines} "
        "{in|of} {<path>|the file <path>}",
        "{tell me|find out|say|check} how many lines {<path>|the file <path>} "
        "{has|contains|is long}",
        "{run wc on|count lines in} {<path>|the file <path>}{| and tell me the number}",
    ),
    "sort_file": (
        "{sort|order} {<path>|the file <path>|the lines of <path>|the lines in <path>}"
        "{| and show me| and print it| and tell me the order}",
        "{show|give|print} me {the lines of <path>|<path>|the file <path>} "
        "{in order|sorted|in sorted order}",
    ),
    "sort_first": (
        "{sort|order} {<path>|the file <path>|the lines of <path>} and "
        "{tell me|give me|say|show me} {the first line|the first one|only the first}",
        "{tell me|find|say|find out} which line of {<path>|the file <path>} "
        "{comes first when sorted|is first in order|sorts first}",
    ),
    "last_line": (
        "{show me|give me|tell me|read|print|get|find} the last line {of|in|from} "
        "{<path>|the file <path>}",
        "{look at|open|check} {<path>|the file <path>} and {tell me|show me|give me} the last line",
        "{tell me|say} {how <path> ends|what is at the end of <path>}",
    ),
    "copy_file": (
        "{copy|duplicate} {<path>|the file <path>} {to|as|into} {<new>|the file <new>|a file <new>}",
        "{make|create} {a copy|a second copy|a backup} of {<path>|the file <path>} "
        "{named|called|as|at} <new>",
    ),
    "move_file": (
        "{move|rename} {<path>|the file <path>} {to|into|as} {<new>|the new name <new>}",
        "give {the file <path>|<path>} {the name|the new name} <new>",
        "change the name of {<path>|the file <path>} {to|into} {<new>|the new name <new>}",
    ),
    "remove_file": (
        "{remove|delete|erase|drop} {<path>|the file <path>|the old file <path>}",
        "{get rid of|throw away|clean up} {<path>|the file <path>|the old file <path>}",
        "{i do not need|we do not need|nobody needs} <path> {any more|now}, "
        "{remove it|delete it|erase it}",
    ),
    "calculate": (
        "{calculate|compute|work out|evaluate|solve} {<expr>|the value of <expr>|the result of <expr>}",
        "{tell me|say|find|find out|give me} {what <expr> is|the value of <expr>|the result of <expr>}",
    ),
    "scale_value": (
        "{<scale>} {the value of <key>|the number <key>|<key>} {in|from} {<path>|the file <path>}",
        "{read|take|get|look up} {<key>|the value of <key>} {in|from} {<path>|the file <path>} and "
        "<scale> it",
        "{open|read} {<path>|the file <path>} and <scale> {<key>|the value of <key>}",
    ),
    "find_first": (
        "{find|look for} the file {that mentions|that contains|with|that has} {<word>|the word "
        "<word>} and {tell me|show me|read me|give me} its first line",
        "{show me|give me|tell me} the first line of the file "
        "{that mentions|that contains|with|that has} {<word>|the word <word>}",
    ),
    "append_line": (
        "{add|append} {<text>|the line <text>|the text <text>} to "
        "{<path>|the file <path>|the end of <path>}",
        "{put|write} {<text>|the line <text>|the text <text>} at the end of {<path>|the file <path>}",
        "{open|extend} {<path>|the file <path>} and {add|append} {the line <text>|<text>} at the end",
    ),
    "set_value": (
        "{set|change|update} {<key>|the value of <key>|the key <key>} to <value> in "
        "{<path>|the file <path>}",
        "{in|inside} {<path>|the file <path>} {set|change|update} {<key>|the value of <key>} "
        "to <value>",
        "{open|edit} {<path>|the file <path>} and {set|change} {<key>|the value of <key>} to <value>",
    ),
    "copy_value": (
        "{write|save|put|store} {the value of <key>|<key>} from {<path>|the file <path>} "
        "{to|into|in} {<new>|the file <new>}",
        "{read|get|take|look up} {the value of <key>|<key>} in {<path>|the file <path>} and "
        "{write|save|put} it {to|into|in} {<new>|the file <new>}",
    ),
    "read_only": (
        "{read|open|show me|print} the only file in {<folder>|the folder <folder>|the <folder> folder}",
        "{tell me|say|find out} what the {only|one|single} file in {<folder>|the folder <folder>} says",
        "{list|look in} {<folder>|the folder <folder>} and {read|open|show me} the file you find",
    ),
    "sort_save": (
        "{sort|order} {<path>|the file <path>|the lines of <path>} and "
        "{save|write|put|store} {it|the result} {to|into|in} {<new>|the file <new>}",
        "{save|write|store} {the sorted lines of <path>|<path> sorted|<path> in order} "
        "{to|into|in} {<new>|the file <new>}",
    ),
    "sum_files": (
        "{add|sum|add up} the numbers in <path> and <path2>{| and tell me the sum| and tell me}",
        "{tell me|find|give me|compute|calculate|work out} {the sum|the total} of "
        "{the numbers in <path> and <path2>|<path> and <path2>|the files <path> and <path2>}",
        "{read|open} <path> and <path2> and {add the numbers|give me the sum|tell me the total}",
    ),
    "sum_at_once": (
        "{read|open} <path> and <path2> {at once|together|at the same time} and "
        "{add the numbers|add them|give me the sum|tell me the total|tell me the sum}",
        "{at once|together} {read|open} <path> and <path2>, then "
        "{add the numbers|add them|give me the sum|tell me the total}",
    ),
    "sum_write": (
        "{add|sum|add up} the numbers in <path> and <path2> and {write|save|put} "
        "{the sum|the result|the total} {to|into|in} <new>",
        "{write|save|put|store} {the sum|the total} of {the numbers in <path> and <path2>|<path> and "
        "<path2>} {to|into|in} <new>",
        "{read|open} <path> and <path2>, add the numbers and {write|save|put} {the sum|the total} "
        "{to|into|in} <new>",
    ),
    "sum_keys": (
        "{find|look up|search for} {<key> and <key2>|the keys <key> and <key2>|the values of <key> and "
        "<key2>} in the files and {add them|give me the sum|tell me the total}",
        "{add|sum|add up} the values of {<key> and <key2>|the keys <key> and <key2>} "
        "{in the files|wherever they are}",
    ),
    "sum_keys_write": (
        "{find|look up|search for} {<key> and <key2>|the keys <key> and <key2>} in the files and "
        "{write|save|put} {the sum|the total|their sum} {to|into|in} <new>",
        "{write|save|put|store} {the sum|the total} of {the keys <key> and <key2>|<key> and <key2>} "
        "in the files {to|into|in} <new>",
    ),
    "find_write": (
        "{find|look for} the file {that mentions|that contains|with|that has} {<word>|the word "
        "<word>} and {write|save|put|copy} its first line {to|into} <new>",
        "{write|save|put|copy} the first line of the file {that mentions|that contains|with|that has} "
        "{<word>|the word <word>} {to|into} <new>",
    ),
    "scale_write": (
        "{<scale>} {the value of <key>|<key>} {in|from} {<path>|the file <path>} and "
        "{write|save|put} {it|the result} {to|into|in} {<new>|the file <new>}",
        "{read|take|get} {<key>|the value of <key>} {in|from} {<path>|the file <path>}, <scale> it and "
        "{write|save|put} {it|the result} {to|into|in} {<new>|the file <new>}",
    ),
    "list_scale_write": (
        "{read|open} the only file in {<folder>|the folder <folder>}, <scale> the number and "
        "{write|save|put} {it|the result} {to|into|in} {<new>|the file <new>}",
        "{<scale>} the number in the {only|single|one} file of {<folder>|the folder <folder>} and "
        "{write|save|put} {it|the result} {to|into|in} {<new>|the file <new>}",
    ),
    "move_into": (
        "{make|create} {a folder|a new folder|the folder} <folder> and {move|put} "
        "{<path>|the file <path>} {into it|there|in it}",
        "{move|put} {<path>|the file <path>} {into|in} {a new folder|a folder named|the new folder} "
        "<folder>",
    ),
    "read_or": (
        "{read|open|show me} {<path>|the file <path>}, {or|and if there is none,} "
        "{<path2>|the file <path2>} {instead|in its place}",
        "{read|open|show me} {<path>|the file <path>}. {if it is missing,|if there is no such file,} "
        "{read|open|show me|use} <path2>",
    ),
    "scale_that": (
        "{<scale>} {it|that|that number|the result|this number}",
        "{take|use} {it|that|that number|the result} and <scale> it",
        "<scale> {what you found|what you got|the number you found|the last number}",
    ),
    "write_that": (
        "{write|save|put|store} {it|that|the result|the answer} {to|into|in} "
        "{<path>|the file <path>|a file <path>}",
        "{keep|note} {it|that|the result|the answer} in {<path>|the file <path>|a file <path>}",
    ),
    "undo_file": (
        "{remove|delete|erase|drop} {that file|the new file|the file you made|that file again}",
        "{get rid of|throw away} {that file|the new file|the file you made|that file again}",
    ),
    "remember": (
        "{remember|keep in mind|note|do not forget|learn} {the word <word>|this word: <word>|that my "
        "word is <word>}",
        "{my word is|the word of the day is|here is a word:} <word>, "
        "{remember it|keep it in mind|do not forget it}",
    ),
    "choose_word": (
        "{choose|pick|select} {one of|one word from} {these words|these}: <options>. "
        "{do not tell me|keep it in your mind|keep it secret|do not say it}",
        "{in your mind|silently|secretly}, {choose|pick|select} {one of|one word from}: <options>",
        "from <options> {choose|pick|select} {one|one word} {in your mind|silently|secretly}",
    ),
    "choose_number": (
        "{think of|choose|pick|invent} a number {of|with} <digits> digits. "
        "{do not tell me|keep it in your mind|keep it secret|do not say it}",
        "{in your mind|silently|secretly}, {think of|choose|pick|invent} a number {of|with} <digits> "
        "digits",
    ),
}

# Intents that are questions or remarks: they stand as they are, with one of the endings given.
QUESTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "read_value": (("{what is|what's} {the value of <key>|<key>} {in|inside} "
                    "{<path>|the file <path>|your file <path>}",
                    "which value {has <key>|is set for <key>} in {<path>|the file <path>}"), ("?", "")),
    "read_all": (("what does {<path>|the file <path>} {say|contain|hold}",
                  "what is in {<path>|the file <path>}"), ("?", "")),
    "list_count": (("how many files {are in|are there in|do you see in|lie in|are inside} "
                    "{<folder>|the folder <folder>|the <folder> folder}",), ("?", "")),
    "list_names": (("{which|what} files are {in|inside|there in} "
                    "{<folder>|the folder <folder>|the <folder> folder}",), ("?", "")),
    "grep_file": (("{which|what} file {mentions|contains|has|holds} {<word>|the word <word>}",
                   "where is the word <word>", "in {which|what} file is {<word>|the word <word>}"),
                  ("?", "")),
    "grep_value": (("what is {the key <key>|<key>} set to{| in the files| somewhere}",
                    "what value does {the key <key>|<key>} have{| in the files}"), ("?", "")),
    "grep_line": (("{on|in} {which|what} line of {<path>|the file <path>} is {<word>|the word <word>}",
                   "where in {<path>|the file <path>} is {<word>|the word <word>}"), ("?", "")),
    "count_lines": (("how many lines {does <path> have|are in <path>|are there in <path>|has <path>}",
                     "how long is {<path>|the file <path>} in lines"), ("?", "")),
    "last_line": (("{what is|what's} {the last line|the final line} {of|in} {<path>|the file <path>}",),
                  ("?", "")),
    "sort_first": (("{which|what} line of {<path>|the file <path>} {comes|is} first "
                    "{when sorted|in sorted order}",), ("?", "")),
    "calculate": (("{what is|what's|how much is} {<expr>|the result of <expr>|the value of <expr>}",),
                  ("?", "")),
    "scale_that": (("what {do you get|is the result|comes out} if {you|i|we} <scale> {it|that|the "
                    "result}",), ("?", "")),
    "also_file": (("{and|and what about|what about|how about|and now} "
                   "{<path>|the file <path>|in <path>|for <path>}",
                   "{the same for|do the same for|and the same for|again for} {<path>|the file <path>}"),
                  ("?", "", ".")),
    "also_key": (("{and|and what about|what about|how about|and what is|and also} "
                  "{<key>|the value of <key>|<key> in that file|<key> in it|<key> there}",), ("?", "")),
    "recall_word": (("{which|what} word did i {tell you|ask you to remember|give you|mention|name}",
                     "{do you {still |}remember|can you tell me|tell me} {my word|the word i gave you}",
                     "what {was|is} {my word|the word i told you|the word i gave you}"), ("?", "")),
    "recall_choice": (("{which|what} {one|word|of them} did you {choose|pick|select|have in mind}",
                       "{what|which} was {your choice|your word|your pick}",
                       "{tell me|say|reveal} {your choice|your word|which one you chose|your pick}",
                       "now {tell me|say} {it|your secret}"), ("?", "", ".")),
    "recall_number": (("{which|what} number did you {choose|pick|think of|have in mind|invent}",
                       "{what|which} was your {number|secret number}",
                       "{tell me|say|reveal} {your number|your secret number|the number}"),
                      ("?", "", ".")),
    "first_question": (("what {was|is} {my first message|my first question|the first thing i said|the "
                        "first thing i asked|my very first message}",
                        "what did i {say|ask|write|want} first",
                        "{repeat|tell me|say again|quote} {my first message|the first thing i said|what "
                        "i said first}"), ("?", "", ".")),
    "repeat_word": (("{repeat|say|echo|repeat after me:|just say} {<word>|the word <word>}",
                     "{can you|please|now} {say|repeat} {<word>|the word <word>}{| back to me}"),
                    ("", ".")),
    "greet": (("{hello|hi|hey|good morning|good evening|good day}{| there| friend| again| baleen}",),
              ("", ".", "!")),
    "thank": (("{thanks|thank you|many thanks|great, thanks|good work|well done|very good|nice}"
               "{| a lot| so much| for that| my friend| indeed}",), ("", ".", "!")),
    "goodbye": (("{bye|goodbye|good night|see you|that is all|i am done}{| now| for today| then| "
                 "friend| for now}",), ("", ".", "!")),
    "which_tools": (("{which|what} tools {do you have|can you use|are there|do you know}",
                     "{what can you do|what are your tools|how can you help}{| here| for me}",
                     "{tell me|list|name|show me} your tools",
                     "{what are the names of|which are} your tools"), ("?", "", ".")),
    "who_are_you": (("{who|what} are you{| really| exactly}",
                     "{tell me|say} {who you are|what you are|your name}",
                     "what is your name{| please| again| then}",
                     "{do you have|have you got} a name{| too| please}"), ("?", "")),
}

# What <scale> may say, and the calculator's expression for it; {n} is a number.
SCALES: dict[str, str] = {"double": "{x} * 2", "triple": "{x} * 3", "add {n} to": "{x} + {n}",
                          "subtract {n} from": "{x} - {n}"}
# Words of slots, reasoning and answers that no wording has.
OTHER_WORDS = (
    "two three four five plus minus times plan check done because then need will wrote copied moved "
    "removed renamed added saved chose exit ready assistant small welcome result matches error no not "
    "none missing such gives starts ends lines works written limit step steps length tool tools grep "
    "shell calculator txt md cfg log wc rm cp mv tail head mkdir directory glad pleasure needed "
    "right match finds nothing an one")
OTHER_WORDS = tuple(OTHER_WORDS.split())
# What is said after a slot of free text would belong to that text.
FREE_TEXT = ("<text>", "<value>", "<options>")
# Wordings that start with one of these take no polite words in front.
STATEMENTS = frozenset("my here the i we nobody in inside silently secretly from at together".split())


def expand(pattern: str) -> list[str]:
    """All texts of a pattern; alternatives may be nested."""
    match = ALTERNATIVES.search(pattern)
    if not match:
        return [pattern]
    return list(itertools.chain.from_iterable(
        expand(pattern[:match.start()] + option + pattern[match.end():])
        for option in match.group(1).split("|")))


def split_of(kind: str, text: str, heldout_one_in: int) -> str:
    """The split to which a wording, word or number belongs, by its hash."""
    digest = hashlib.sha256(f"{kind}:{text}".encode()).digest()
    return "heldout" if int.from_bytes(digest[:4], "big") % heldout_one_in == 0 else "train"


@cache
def wordings(intent: str, split: str) -> tuple[tuple[str, str], ...]:
    """(wording, "request" or "question") of an intent in a split, in a fixed order."""
    found: dict[str, str] = {}
    for pattern in REQUESTS.get(intent, ()):
        found |= {" ".join(text.split()): "request" for text in expand(pattern)}
    for pattern in QUESTIONS.get(intent, ((), ()))[0]:
        found |= {" ".join(text.split()): "question" for text in expand(pattern)}
    return tuple((text, form) for text, form in found.items()
                 if split_of(intent, text, HELDOUT_WORDINGS) == split)


def say(rng: Random, split: str, intent: str, slots: dict[str, str]) -> tuple[str, str]:
    """(what the user says, the wording used) for an intent."""
    wording, form = rng.choice(wordings(intent, split))
    text = SLOT.sub(lambda match: slots[match.group(1)], wording)
    if form == "question":
        return text + rng.choice(QUESTIONS[intent][1]), wording
    after = "" if wording.endswith(FREE_TEXT) else rng.choice(AFTER)
    before = "" if wording.split(" ")[0] in STATEMENTS else rng.choice(BEFORE)
    return before + text + after, wording


@cache
def phrase_words() -> frozenset[str]:
    """Every word of the wordings: these never serve as names or values."""
    text = " ".join(pattern for patterns in REQUESTS.values() for pattern in patterns)
    text += " " + " ".join(p for patterns, _ in QUESTIONS.values() for p in patterns)
    text += " " + " ".join(BEFORE + AFTER + tuple(SCALES) + OTHER_WORDS)
    return frozenset(re.findall(r"[a-z]+", SLOT.sub(" ", text)))
