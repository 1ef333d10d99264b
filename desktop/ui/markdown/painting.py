"""Painting of the blocks in sight, and of the bars beside quotes."""

from __future__ import annotations

from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QPainter

from desktop.ui.markdown.layout import Layout
from desktop.ui.markdown.selection import Selection

_BAR = 3  # pixels


def paint_blocks(painter: QPainter, clip: QRectF, layout: Layout, selection: Selection) -> None:
    """Paint what of a layout is inside clip, in the layout's coordinates."""
    line = QColor(layout.style.colours.line)
    for index in range(layout.index_at(clip.top()), len(layout.entries)):
        top = layout.top(index)
        if top > clip.bottom():
            break
        bars: tuple[int, ...] = ()
        for at, box in enumerate(layout.entries[index].boxes or ()):
            place = box.piece.place
            y = top + place.gap
            if y + box.height >= clip.top() and top <= clip.bottom():
                for bar in place.bars:
                    # A bar goes on through the gap between two pieces of one quote.
                    start = top if bar in bars else y
                    painter.fillRect(QRectF(bar, start, _BAR, y + box.height - start), line)
                painter.save()
                painter.translate(place.left, y)
                box.paint(painter, clip.translated(-place.left, -y), selection.span(index, at, box))
                painter.restore()
            bars = place.bars
            top = y + box.height
