"""Code on a soft panel: its language, Copy and Wrap, colours, and a bar to scroll sideways.

Only the rows in sight are made and laid out, so that the number of lines costs next to nothing.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, Qt, QTimer
from PySide6.QtGui import QColor, QGuiApplication, QPainter, QPen, QTextCharFormat, QTextLayout, QTextOption
from PySide6.QtWidgets import QWidget

from desktop.ui.markdown.box import Box, Span, word_in
from desktop.ui.markdown.code_colours import CONTEXT, LINE_LIMIT, CodeColours
from desktop.ui.markdown.code_rows import TAB, CodeRows, Row
from desktop.ui.markdown.pieces import CodePiece
from desktop.ui.markdown.side_scroll import BAR, HeaderButton, SideScroll
from desktop.ui.markdown.style import Style
from desktop.ui.markdown.text import for_document
from desktop.ui.theme import RADIUS, SPACE, TYPE

_HEADER = 30.0
_PAD = float(SPACE[2])
_ROUGH_LINES = 60  # the last ones of a code that is still written: those have colours
_CACHED_ROWS = 400
_SLICE = 0.004  # seconds of reading colours at once
_COPIED_MS = 1_500


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
        self._cached: dict[int, QTextLayout] = {}  # by the row's start
        self._rows = CodeRows(style.code_metrics)
        self._rows.set_code(piece.code)

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
        """Take what was added."""
        old, self.piece = self.piece.code, piece
        self.changed_from = _HEADER + self._rows.set_code(piece.code) * self._step
        last = old.rfind("\n") + 1
        self._cached = {start: layout for start, layout in self._cached.items() if start < last}
        if self._coloured == "rough" and not piece.closed:
            self._read_roughly(len(piece.code) - last)
        elif piece.closed and self._coloured:
            self._coloured = ""
            self.changed_from = 0.0
            self._want_colours()

    def lay_out(self, width: float) -> None:
        if width != self.width and self._wrap:
            self._rows.wrap(width - 2 * _PAD)
            self._cached.clear()
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
        painter.setPen(QColor(style.colours.text))
        rows, size = self._rows, (self._rows.count, self._rows.widest)
        index = max(0, int((clip.top() - _HEADER) // self._step))
        while index < rows.count and (y := _HEADER + index * self._step) <= clip.bottom():
            self._paint_row(painter, rows.row(index), y, selected)
            index += 1
        painter.restore()
        if size != (rows.count, rows.widest) and self._body is not None:
            QTimer.singleShot(0, self._body, self._body.box_resized)  # type: ignore[attr-defined]

    def position_at(self, x: float, y: float) -> int:
        index = int((y - _HEADER) // self._step)
        if index < 0:
            return 0
        if index >= self._rows.count:
            return len(self.piece.code)
        row = self._rows.row(index)
        return row.start + self._layout(row).lineAt(0).xToCursor(x - _PAD + self._scroll.offset)

    def word_at(self, position: int) -> Span:
        code = self.piece.code
        line, end = code.rfind("\n", 0, position) + 1, code.find("\n", position)
        first, last = word_in(code[line : end if end >= 0 else len(code)], position - line)
        return line + first, line + last

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

    def _fit(self) -> None:
        self._scroll.set_range(0 if self._wrap else self._rows.widest + 2 * _PAD, self.width)
        bar = BAR if self._scroll.maximum else 0
        self.height = _HEADER + self._rows.count * self._step + _PAD + bar

    def _layout(self, row: Row) -> QTextLayout:
        layout = self._cached.get(row.start)
        if layout is None:
            if len(self._cached) >= _CACHED_ROWS:
                self._cached.clear()
            layout = QTextLayout(for_document(self.piece.code[row.start : row.end]), self.style.code_font)
            option = QTextOption()
            option.setWrapMode(QTextOption.WrapMode.NoWrap)
            option.setTextDirection(Qt.LayoutDirection.LeftToRight)
            option.setTabStopDistance(self._column * TAB)
            layout.setTextOption(option)
            formats = []
            length = row.end - row.start
            for column, characters, kind in self._colours.spans(row.line):
                first = max(column - row.column, 0)
                last = min(column - row.column + characters, length)
                if first < last:
                    part = QTextLayout.FormatRange()
                    part.start, part.length = first, last - first
                    form = QTextCharFormat()
                    form.setForeground(self.style.code[kind])
                    part.format = form
                    formats.append(part)
            layout.setFormats(formats)
            layout.beginLayout()
            layout.createLine().setLineWidth(1e6)
            layout.endLayout()
            self._cached[row.start] = layout
        return layout

    def _paint_row(self, painter: QPainter, row: Row, y: float, selected: Span | None) -> None:
        layout = self._layout(row)
        marks = []
        if selected is not None:
            first, last = max(selected[0], row.start), min(selected[1], row.end)
            if first < last:
                mark = QTextLayout.FormatRange()
                mark.start, mark.length = first - row.start, last - first
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
            self._read_roughly(len(self.piece.code))
            self._cached.clear()

    def _read_roughly(self, characters: int) -> None:
        """Colour the lines in which the last so many characters are, or the last of them."""
        code = self.piece.code
        most = _ROUGH_LINES + CONTEXT
        # Fewer lines than that in so much text: one of them is too long to be coloured, and nothing is.
        lines = code[-most * (LINE_LIMIT + 1) :].split("\n")[-most:]
        number = self._rows.lines - len(lines)
        fresh = min(_ROUGH_LINES, code.count("\n", len(code) - characters) + 1)
        self._colours.read_roughly(lines, number, max(0, self._rows.lines - fresh))

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
        self._rows.wrap(self.width - 2 * _PAD if wrap else 0)
        self._cached.clear()
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
