"""A finished text rendered as Markdown, as high as it needs to be."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import QEvent, QSize, Qt, QUrl, Signal
from PySide6.QtGui import QResizeEvent, QTextDocument, QWheelEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QTextBrowser, QWidget

from desktop.ui.chat.markdown_document import render
from desktop.ui.theme import Palette, current_palette


class MarkdownView(QTextBrowser):
    """Read-only and selectable. Loads nothing by itself.

    Signals:
        link_activated: the address of a link that was clicked; nothing was opened.
    """

    link_activated = Signal(str)

    def __init__(self, markdown: str, width: int, parent: QWidget | None = None) -> None:
        """width: in pixels, what the layout will give it; saves laying out the text twice."""
        super().__init__(parent)
        self._markdown = markdown
        self._rendered_with: Palette | None = None
        self._document: QTextDocument | None = None
        self._wanted_height = 0
        self.setProperty("bare", True)
        self.setOpenLinks(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.anchorClicked.connect(self._on_anchor_clicked)
        self.resize(width, 20)
        self._render()

    def loadResource(self, kind: int, name: QUrl | str) -> Any:
        return None

    def sizeHint(self) -> QSize:
        return QSize(100, self._wanted_height)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self._wanted_height)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        changed = event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange)
        if changed and self._rendered_with not in (None, current_palette()):
            self._render()

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def _render(self) -> None:
        self._rendered_with = current_palette()
        before = self._document
        self._document = render(self._markdown, self.font(), self._rendered_with, self)
        self.setDocument(self._document)
        if before is not None:
            before.deleteLater()
        self._fit()

    def _fit(self) -> None:
        height = math.ceil(self.document().size().height())
        if height != self._wanted_height:
            self._wanted_height = height
            self.setFixedHeight(height)

    def _on_anchor_clicked(self, address: QUrl) -> None:
        self.link_activated.emit(address.toString())
