"""The tool calculator: arithmetic by a parser of its own, with bounds on what it will compute.

Whole numbers are exact and of any size up to a bound. Numbers with a point are decimals, so that 0.1 + 0.2 is 0.3; the
functions of real numbers work in double precision.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext
from typing import Any

from desktop.domain.counting import counted
from desktop.domain.generation import ToolSpec
from desktop.tools.tool import Tool, ToolContext, ToolError

MAX_CHARACTERS = 1000
MAX_DIGITS = 2000
_MAX_DEPTH = 50
_MAX_BITS = int(MAX_DIGITS / math.log10(2))
_PRECISION = 28

Number = int | Decimal

SPEC = ToolSpec(
    name="calculator",
    description=(
        "Compute an arithmetic expression: + - * / // % ** and parentheses; sqrt sin cos tan log ln exp abs round min "
        "max floor ceil; pi and e. Angles in radians; log(x) is to base 10, log(x, b) to base b, ln(x) natural."
    ),
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string", "description": 'For example "(3 + 4) * sqrt(2)".'}},
        "required": ["expression"],
        "additionalProperties": False,
    },
)

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z]+)|(?P<sign>\*\*|//|[-+*/%^(),]))"
)


def calculate(expression: str) -> Number:
    """The value of an expression. Raises ToolError with a sentence."""
    if len(expression) > MAX_CHARACTERS:
        raise ToolError(f"The expression is longer than {MAX_CHARACTERS} characters.")
    text = expression.replace("×", "*").replace("÷", "/").replace("−", "-").replace("^", "**").rstrip()
    with localcontext(Context(prec=_PRECISION, traps=[InvalidOperation, DivisionByZero, Overflow])):
        try:
            return _Parser(_cut(text)).parse()
        except (ZeroDivisionError, DivisionByZero) as problem:
            raise ToolError("Division by zero.") from problem
        except (OverflowError, Overflow) as problem:
            raise ToolError("The result is too large.") from problem
        except (InvalidOperation, ValueError) as problem:
            raise ToolError("The expression has no value: an argument is out of its function's range.") from problem


def show(value: Number) -> str:
    """A number as text: whole numbers in full, others with up to 15 significant digits."""
    if isinstance(value, int):
        return str(value)
    rounded = Context(prec=15).create_decimal(value).normalize()
    digits = abs(rounded.adjusted())
    return f"{rounded:f}" if digits <= 20 else f"{rounded:e}"


def _cut(text: str) -> list[tuple[str, str]]:
    """The tokens as (kind, text); kind: number, name, sign, end."""
    found = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ToolError(f"The expression cannot be read at {text[at:].strip()[:20]!r}.")
        found.append((match.lastgroup or "", match[match.lastgroup or 0]))
        at = match.end()
    return [*found, ("end", "")]


class _Parser:
    """Recursive descent; each method reads one level of the grammar and returns its value."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def parse(self) -> Number:
        value = self._sum()
        if self._tokens[self._at][0] != "end":
            raise ToolError(f"The expression cannot be read at {self._tokens[self._at][1]!r}.")
        return value

    def _take(self, *signs: str) -> str:
        """The next token if it is one of these signs, else ""."""
        kind, text = self._tokens[self._at]
        if kind == "sign" and text in signs:
            self._at += 1
            return text
        return ""

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            there = self._tokens[self._at][1]
            raise ToolError(f"The expression needs {sign!r}" + (f" before {there!r}." if there else " at its end."))

    def _sum(self) -> Number:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ToolError("The expression is nested too deeply.")
        value = self._product()
        while sign := self._take("+", "-"):
            right = self._product()
            value = _bounded(value + right if sign == "+" else value - right)
        self._depth -= 1
        return value

    def _product(self) -> Number:
        value = self._signed()
        while sign := self._take("*", "/", "//", "%"):
            value = _bounded(_multiply(sign, value, self._signed()))
        return value

    def _signed(self) -> Number:
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        value = self._power()
        return -value if negative else value

    def _power(self) -> Number:
        base = self._atom()
        if not self._take("**"):
            return base
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ToolError("The expression is nested too deeply.")
        exponent = self._signed()  # binds to the right: 2 ** 3 ** 2 is 2 ** 9
        self._depth -= 1
        return _bounded(_raise(base, exponent))

    def _atom(self) -> Number:
        kind, text = self._tokens[self._at]
        if kind == "end":
            raise ToolError("The expression is not complete.")
        self._at += 1
        if kind == "number":
            return _bounded(int(text) if text.replace("_", "").isdigit() else Decimal(text))
        if kind == "name":
            return self._named(text)
        if text == "(":
            value = self._sum()
            self._expect(")")
            return value
        raise ToolError(f"The expression cannot be read at {text!r}.")

    def _named(self, name: str) -> Number:
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name not in _FUNCTIONS:
            raise ToolError(f"There is no function or constant {name[:40]!r}.")
        self._expect("(")
        arguments = [self._sum()]
        while self._take(","):
            arguments.append(self._sum())
        self._expect(")")
        least, most, function = _FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            raise ToolError(f"The function {name} cannot take {counted(len(arguments), 'argument')}.")
        return _bounded(function(arguments))


def _bounded(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise ToolError(f"The result has more than {MAX_DIGITS} digits.")
    # Its whole part may be asked for, digit by digit.
    if isinstance(value, Decimal) and value and value.adjusted() > MAX_DIGITS:
        raise ToolError("The result is too large.")
    return value


def _multiply(sign: str, left: Number, right: Number) -> Number:
    if sign == "*":
        return left * right
    if right == 0:
        raise ZeroDivisionError
    if sign == "/":
        if isinstance(left, int) and isinstance(right, int) and left % right == 0:
            return left // right
        return Decimal(left) / Decimal(right)
    # Decimal rounds towards zero here; the remainder must have the sign of the divisor for both kinds.
    remainder = left % right
    if remainder and (remainder < 0) != (right < 0):
        remainder += right
    if sign == "%":
        return remainder
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    return int(((Decimal(left) - remainder) / Decimal(right)).to_integral_value())


def _raise(base: Number, exponent: Number) -> Number:
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if abs(base) > 1 and exponent * math.log2(abs(base)) > _MAX_BITS + 1:
            raise ToolError(f"The result has more than {MAX_DIGITS} digits.")
        whole: int = base**exponent
        return whole
    if base == 0 and exponent == 0:
        return 1
    return Decimal(base) ** Decimal(exponent)


def _real(function: Callable[..., float]) -> Callable[[Sequence[Number]], Number]:
    def apply(arguments: Sequence[Number]) -> Number:
        return Decimal(repr(function(*map(float, arguments))))

    return apply


def _sqrt(arguments: Sequence[Number]) -> Number:
    value = arguments[0]
    if isinstance(value, int) and value >= 0 and math.isqrt(value) ** 2 == value:
        return math.isqrt(value)
    return Decimal(value).sqrt()


def _logarithm(arguments: Sequence[Number]) -> Number:
    value = arguments[0]
    base: Number = arguments[1] if len(arguments) == 2 else 10
    if value <= 0 or base <= 0 or base == 1:
        raise ValueError
    return Decimal(value).log10() if base == 10 else Decimal(value).ln() / Decimal(base).ln()


def _ln(arguments: Sequence[Number]) -> Number:
    if arguments[0] <= 0:
        raise ValueError
    return Decimal(arguments[0]).ln()


def _round(arguments: Sequence[Number]) -> Number:
    value = arguments[0]
    if len(arguments) == 1:
        return round(value)
    places = arguments[1]
    if places != int(places) or not -MAX_DIGITS <= places <= MAX_DIGITS:
        raise ToolError("The second argument of round must be a small whole number.")
    if isinstance(value, int):
        return round(value, int(places))
    exponent = value.as_tuple().exponent
    # A number without so many places stays; decimal refuses to write zeros behind its precision.
    return value if isinstance(exponent, int) and -exponent <= places else round(value, int(places))


def _least(arguments: Sequence[Number]) -> Number:
    return min(arguments)


def _greatest(arguments: Sequence[Number]) -> Number:
    return max(arguments)


_CONSTANTS: dict[str, Number] = {
    "pi": Decimal("3.141592653589793238462643383"),
    "e": Decimal("2.718281828459045235360287471"),
}

# name -> least and most arguments, function
_FUNCTIONS: dict[str, tuple[int, int, Callable[[Sequence[Number]], Number]]] = {
    "sqrt": (1, 1, _sqrt),
    "sin": (1, 1, _real(math.sin)),
    "cos": (1, 1, _real(math.cos)),
    "tan": (1, 1, _real(math.tan)),
    "log": (1, 2, _logarithm),
    "ln": (1, 1, _ln),
    "exp": (1, 1, lambda arguments: Decimal(arguments[0]).exp()),
    "abs": (1, 1, lambda arguments: -arguments[0] if arguments[0] < 0 else arguments[0]),
    "round": (1, 2, _round),
    "min": (1, MAX_CHARACTERS, _least),
    "max": (1, MAX_CHARACTERS, _greatest),
    "floor": (1, 1, lambda arguments: math.floor(arguments[0])),
    "ceil": (1, 1, lambda arguments: math.ceil(arguments[0])),
}


def _run(arguments: dict[str, Any], context: ToolContext) -> str:
    return show(calculate(arguments["expression"]))


TOOL = Tool(SPEC, _run)
