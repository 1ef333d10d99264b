"""Loading the parser, the highlighter and the formulas ahead of the first reply."""

from __future__ import annotations

from collections.abc import Callable


def steps() -> tuple[Callable[[], object], ...]:
    """What to call, one after the other, in idle moments: each takes some 50 ms, so that typing is not held up."""
    return _block_parser, _inline_parser, _highlighter, _pictures


def preload() -> None:
    """All of it at once."""
    for step in steps():
        step()


def _block_parser() -> None:
    from desktop.ui.markdown.dialect import block_tokens

    block_tokens("*a*", {})


def _inline_parser() -> None:
    from desktop.ui.markdown.dialect import inline_tokens

    inline_tokens("*a*", {})


def _highlighter() -> None:
    import pygments.lexers  # type: ignore[import-untyped]

    pygments.lexers.get_lexer_by_name("python")


def _pictures() -> None:
    from PySide6 import QtSvg

    assert QtSvg
