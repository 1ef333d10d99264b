"""What every drawn piece can do. A box has no widget of its own: the body paints it and tells it of the mouse."""

from __future__ import annotations

from abc import ABC, abstractmethod

from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QWidget

from desktop.ui.markdown.pieces import Piece
from desktop.ui.markdown.style import Style

Span = tuple[int, int]  # characters from … to before …, as the box counts them


class Box(ABC):
    """One piece. Coordinates are its own; (0, 0) is the left top corner."""

    def __init__(self, piece: Piece, style: Style) -> None:
        self.piece = piece
        self.style = style
        self.width = 0.0
        self.height = 0.0
        self.changed_from = 0.0  # what is above this is drawn as before update() and lay_out()

    @property
    def length(self) -> int:
        """How many characters can be selected."""
        return 1

    def can_become(self, piece: Piece) -> bool:
        """Whether update() takes this piece, because it only grew."""
        del piece
        return False

    def update(self, piece: Piece) -> None:
        """Show this piece, which can_become() accepted. Call lay_out() next."""
        self.piece = piece

    @abstractmethod
    def lay_out(self, width: float) -> None:
        """Take this width and set the height."""

    @abstractmethod
    def paint(self, painter: QPainter, clip: QRectF, selected: Span | None) -> None:
        """Draw what is inside clip."""

    def position_at(self, x: float, y: float) -> int:
        """The place between two characters that is nearest."""
        del y
        return 0 if x < self.width / 2 else self.length

    def word_at(self, position: int) -> Span:
        """The word around a place."""
        del position
        return 0, self.length

    def link_at(self, x: float, y: float) -> str:
        """The address under the mouse, or nothing."""
        del x, y
        return ""

    def show_controls(self, body: QWidget, x: float, y: float) -> None:  # noqa: B027 (most boxes have none)
        """Put buttons and scroll bars, if it has any, on the body, for a box that stands at (x, y)."""

    def drop_controls(self) -> None:  # noqa: B027
        """The box is out of sight, or goes away."""

    def scroll_sideways(self, pixels: float) -> bool:
        """False when there is nothing to scroll."""
        del pixels
        return False


def word_in(text: str, position: int) -> Span:
    """The word around a place in a text; a single character where there is no word."""
    start = end = min(position, len(text))
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return (start, end) if end > start else (min(position, max(0, len(text) - 1)), min(position + 1, len(text)))
