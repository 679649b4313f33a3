"""The calculator tool: integers with + - * and parentheses."""

from __future__ import annotations

import re

LIMIT = 10**18  # numbers and results have at most 18 digits, so that 64 bits hold them
DEPTH_MAX = 64  # nested parentheses and signs
BAD = "error: bad expression"
TOO_LARGE = "error: number too large"

TOKEN = re.compile(r"[0-9]+|[-+*()]")


class Refused(Exception):
    """Carries the tool's text."""


class Parser:
    """sum = product (("+" | "-") product)*; product = factor ("*" factor)*;
    factor = "-" factor | "(" sum ")" | digits."""

    def __init__(self, expression: str) -> None:
        if TOKEN.sub("", expression).strip(" "):
            raise Refused(BAD)
        self.tokens = TOKEN.findall(expression)
        self.at = 0

    def take(self, *wanted: str) -> str | None:
        """The next token if it is one of `wanted`."""
        if self.at < len(self.tokens) and self.tokens[self.at] in wanted:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def sum(self, depth: int = 0) -> int:
        value = self.product(depth)
        while sign := self.take("+", "-"):
            other = self.product(depth)
            value = checked(value + other if sign == "+" else value - other)
        return value

    def product(self, depth: int) -> int:
        value = self.factor(depth)
        while self.take("*"):
            value = checked(value * self.factor(depth))
        return value

    def factor(self, depth: int) -> int:
        if depth > DEPTH_MAX:
            raise Refused(BAD)
        if self.take("-"):
            return -self.factor(depth + 1)
        if self.take("("):
            value = self.sum(depth + 1)
            if not self.take(")"):
                raise Refused(BAD)
            return value
        if self.at == len(self.tokens) or not self.tokens[self.at].isdigit():
            raise Refused(BAD)
        self.at += 1
        digits = self.tokens[self.at - 1].lstrip("0")
        if len(digits) > 18:
            raise Refused(TOO_LARGE)
        return int(digits or "0")


def checked(value: int) -> int:
    if abs(value) >= LIMIT:
        raise Refused(TOO_LARGE)
    return value


def calculate(expression: str) -> str:
    """The result in decimal, or an error text. Errors are found from left to right."""
    try:
        parser = Parser(expression)
        value = parser.sum()
        if parser.at != len(parser.tokens):
            raise Refused(BAD)
        return str(value)
    except Refused as refused:
        return str(refused)
