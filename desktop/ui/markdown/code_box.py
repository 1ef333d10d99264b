"""Code on a soft panel: its language, Copy and Wrap, colours, and a bar to scroll sideways.

Only the rows in sight are laid out, so that the number of lines costs nothing but memory.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from PySide6.QtCore import QPointF, QRectF, Qt, QTimer
from PySide6.QtGui import QColor, QGuiApplication, QPainter, QPen, QTextCharFormat, QTextLayout, QTextOption
from PySide6.QtWidgets import QWidget

from desktop.ui.markdown.box import Box, Span, word_in
from desktop.ui.markdown.code_colours import CodeColours
from desktop.ui.markdown.pieces import CodePiece
from desktop.ui.markdown.side_scroll import BAR, HeaderButton, SideScroll
from desktop.ui.markdown.style import Style
from desktop.ui.markdown.text import for_document
from desktop.ui.theme import RADIUS, SPACE, TYPE

_HEADER = 30.0
_PAD = float(SPACE[2])
_ROW_LIMIT = 1_000  # characters; a longer line goes on in the next row
_CACHED_ROWS = 400
_SLICE = 0.004  # seconds of reading colours at once
_COPIED_MS = 1_500
_TAB = 4


class CodeBox(Box):
    """Rows of code. Character positions count in the code itself."""

    piece: CodePiece

    def __init__(self, piece: CodePiece, style: Style) -> None:
        super().__init__(piece, style)
        self._wrap = False
        self._scroll = SideScroll()
        self._colours = CodeColours(piece.language)
        self._coloured = ""  # what was read: "" nothing, "rough", "exact"
        self._timer: QTimer | None = None
        self._buttons: list[HeaderButton] = []
        self._body: QWidget | None = None
        self._step = math.ceil(style.code_metrics.lineSpacing() * 1.12)
        self._column = style.code_metrics.horizontalAdvance("0")
        self._cached: dict[int, QTextLayout] = {}
        self._clear()
        self._take_lines(piece.code, 0)

    @property
    def length(self) -> int:
        return max(1, len(self.piece.code))

    def can_become(self, piece: object) -> bool:
        return (
            isinstance(piece, CodePiece)
            and not self.piece.closed
            and piece.language == self.piece.language
            and piece.place == self.piece.place
            and piece.code.startswith(self.piece.code)
        )

    def update(self, piece: CodePiece) -> None:  # type: ignore[override]
        """Take the lines that were added."""
        self.piece = piece
        last = len(self._lines) - 1
        start = self._starts[last]
        del self._lines[last], self._starts[last]
        while self._rows and self._rows[-1][0] == last:
            self._rows.pop()
            self._cached.pop(len(self._rows), None)
        self.changed_from = _HEADER + len(self._rows) * self._step
        self._take_lines(piece.code[start:], start)
        if self._coloured == "rough" and not piece.closed:
            self._colours.read_roughly(self._lines, last)
        elif piece.closed and self._coloured:
            self._coloured = ""
            self.changed_from = 0.0
            self._want_colours()

    def lay_out(self, width: float) -> None:
        if width != self.width and self._wrap:
            self.width = width
            self._make_rows()
        self.width = width
        self._fit()

    def paint(self, painter: QPainter, clip: QRectF, selected: Span | None) -> None:
        self._want_colours()
        style = self.style
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(style.colours.line), 1))
        painter.setBrush(QColor(style.colours.panel))
        painter.drawRoundedRect(QRectF(0.5, 0.5, self.width - 1, self.height - 1), RADIUS, RADIUS)
        small = style.metrics
        font = painter.font()
        font.setPointSizeF(TYPE.small)
        painter.setFont(font)
        painter.setPen(QColor(style.colours.dim))
        label = small.elidedText(for_document(self.piece.language[:60]) or "code", Qt.TextElideMode.ElideRight, 160)
        painter.drawText(QRectF(_PAD, 0, 180, _HEADER), Qt.AlignmentFlag.AlignVCenter, label)
        painter.save()
        painter.setClipRect(
            QRectF(1, _HEADER, self.width - 2, self.height - _HEADER - 1), Qt.ClipOperation.IntersectClip
        )
        first = max(0, int((clip.top() - _HEADER) // self._step))
        last = min(len(self._rows), int((clip.bottom() - _HEADER) // self._step) + 2)
        painter.setPen(QColor(style.colours.text))
        for row in range(first, last):
            self._paint_row(painter, row, selected)
        painter.restore()

    def position_at(self, x: float, y: float) -> int:
        row = int((y - _HEADER) // self._step)
        if row < 0:
            return 0
        if row >= len(self._rows):
            return len(self.piece.code)
        line, start, _ = self._rows[row]
        column = self._layout(row).lineAt(0).xToCursor(x - _PAD + self._scroll.offset)
        return self._starts[line] + start + column

    def word_at(self, position: int) -> Span:
        line = max(0, bisect_right(self._starts, position) - 1)
        start, end = word_in(self._lines[line], position - self._starts[line])
        return self._starts[line] + start, self._starts[line] + end

    def show_controls(self, body: QWidget, x: float, y: float) -> None:
        self._body = body
        if not self._buttons:
            wrap = HeaderButton("Wrap", "Wrap long lines of this code", body)
            wrap.setCheckable(True)
            wrap.setChecked(self._wrap)
            wrap.toggled.connect(self._on_wrap)
            copy = HeaderButton("Copy", "Copy this code", body)
            copy.clicked.connect(self._on_copy)
            self._buttons = [wrap, copy]
            for button in self._buttons:
                button.resize(button.sizeHint())
                button.show()
        right = x + self.width - SPACE[0] - 2
        for button in reversed(self._buttons):
            right -= button.width()
            button.move(round(right), round(y + (_HEADER - button.height()) / 2))
            right -= SPACE[0]
        self._scroll.show_on(body, x + 2, y + self.height - BAR - 1, self.width - 4)

    def drop_controls(self) -> None:
        for button in self._buttons:
            button.hide()
            button.deleteLater()
        self._buttons = []
        self._scroll.drop()
        if self._timer is not None:
            self._timer.stop()
            self._timer.deleteLater()
            self._timer = None
            self._coloured = ""
        self._cached.clear()

    def scroll_sideways(self, pixels: float) -> bool:
        return self._scroll.move(pixels)

    def _clear(self) -> None:
        self._lines: list[str] = []
        self._starts: list[int] = []
        self._rows: list[tuple[int, int, int]] = []  # line, first and last column
        self._widest = 0.0

    def _take_lines(self, text: str, start: int) -> None:
        for line in text.split("\n"):
            self._lines.append(line)
            self._starts.append(start)
            start += len(line) + 1
            self._add_rows(len(self._lines) - 1)

    def _make_rows(self) -> None:
        self._rows = []
        self._widest = 0.0
        self._cached.clear()
        for index in range(len(self._lines)):
            self._add_rows(index)

    def _add_rows(self, index: int) -> None:
        line = self._lines[index]
        limit = _ROW_LIMIT
        if self._wrap:
            limit = max(8, int((self.width - 2 * _PAD) // self._column))
        if len(line) <= limit and line.isascii() and "\t" not in line:
            self._rows.append((index, 0, len(line)))
            self._widest = max(self._widest, len(line) * self._column)
            return
        at = 0
        while True:
            end = self._row_end(line, at, limit)
            self._rows.append((index, at, end))
            self._widest = max(self._widest, self._advance(line[at:end]))
            at = end
            if at >= len(line):
                return

    def _row_end(self, line: str, at: int, limit: int) -> int:
        if not self._wrap:
            return min(len(line), at + limit)
        room = limit * self._column
        end = min(len(line), at + limit)
        while end > at + 1 and self._advance(line[at:end]) > room + 0.5:
            end = at + max(1, (end - at) * 7 // 8)
        if end < len(line) and (space := line.rfind(" ", at + (end - at) // 2, end)) > at:
            end = space + 1
        return end

    def _advance(self, text: str) -> float:
        if text.isascii():
            return len(text.expandtabs(_TAB)) * self._column
        return self.style.code_metrics.horizontalAdvance(for_document(text.expandtabs(_TAB)))

    def _fit(self) -> None:
        self._scroll.set_range(0 if self._wrap else self._widest + 2 * _PAD, self.width)
        bar = BAR if self._scroll.maximum else 0
        self.height = _HEADER + len(self._rows) * self._step + _PAD + bar

    def _layout(self, row: int) -> QTextLayout:
        layout = self._cached.get(row)
        if layout is None:
            if len(self._cached) >= _CACHED_ROWS:
                self._cached.clear()
            line, start, end = self._rows[row]
            layout = QTextLayout(for_document(self._lines[line][start:end]), self.style.code_font)
            option = QTextOption()
            option.setWrapMode(QTextOption.WrapMode.NoWrap)
            option.setTextDirection(Qt.LayoutDirection.LeftToRight)
            option.setTabStopDistance(self._column * _TAB)
            layout.setTextOption(option)
            formats = []
            for column, length, kind in self._colours.spans(line):
                first, last = max(column, start), min(column + length, end)
                if first < last:
                    part = QTextLayout.FormatRange()
                    part.start, part.length = first - start, last - first
                    form = QTextCharFormat()
                    form.setForeground(self.style.code[kind])
                    part.format = form
                    formats.append(part)
            layout.setFormats(formats)
            layout.beginLayout()
            layout.createLine().setLineWidth(1e6)
            layout.endLayout()
            self._cached[row] = layout
        return layout

    def _paint_row(self, painter: QPainter, row: int, selected: Span | None) -> None:
        line, start, end = self._rows[row]
        y = _HEADER + row * self._step
        layout = self._layout(row)
        marks = []
        if selected is not None:
            base = self._starts[line]
            first, last = max(selected[0] - base, start), min(selected[1] - base, end)
            if first < last:
                mark = QTextLayout.FormatRange()
                mark.start, mark.length = first - start, last - first
                form = QTextCharFormat()
                form.setBackground(QColor(self.style.colours.accent))
                form.setForeground(QColor(self.style.colours.on_accent))
                mark.format = form
                marks.append(mark)
        layout.draw(painter, QPointF(_PAD - self._scroll.offset, y), marks)

    def _want_colours(self) -> None:
        if self._coloured or self._body is None:
            return
        if self.piece.closed:
            self._coloured = "exact"
            self._colours.start_exactly(self.piece.code)
            self._timer = self._timer or QTimer(self._body)
            self._timer.timeout.connect(self._on_time)
            self._timer.start(0)
        else:
            self._coloured = "rough"
            self._colours.read_roughly(self._lines, max(0, len(self._lines) - 60))
            self._cached.clear()

    def _on_time(self) -> None:
        more = self._colours.go_on(_SLICE)
        self._cached.clear()
        if not more and self._timer is not None:
            self._timer.stop()
            self._timer.deleteLater()
            self._timer = None
        if self._body is not None and not more:
            self._body.update()

    def _on_wrap(self, wrap: bool) -> None:
        self._wrap = wrap
        self._make_rows()
        self._fit()
        if self._body is not None:
            self._body.box_resized()  # type: ignore[attr-defined]

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.piece.code)
        if self._buttons:
            self._buttons[-1].setText("Copied")
            QTimer.singleShot(_COPIED_MS, self._buttons[-1], self._on_copy_told)

    def _on_copy_told(self) -> None:
        if self._buttons:
            self._buttons[-1].setText("Copy")
