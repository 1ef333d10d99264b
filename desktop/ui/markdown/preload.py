"""Loading the parser and the highlighter ahead of the first reply."""

from __future__ import annotations


def preload() -> None:
    """Some 80 ms of imports and regular expressions, in a thread of its own or before a measurement. Knows no Qt."""
    from desktop.ui.markdown import code_colours, dialect

    dialect.block_tokens("*a*", {})
    dialect.inline_tokens("*a*", {})
    code_colours.lexer_of("python")
