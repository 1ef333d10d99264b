"""The downloads above the list of models; takes no room when there are none."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from desktop.services.download_status import DownloadStatus
from desktop.services.downloads import Downloads
from desktop.ui.models.download_row import DownloadRow
from desktop.ui.theme import SPACE

_MOST_HEIGHT = 156  # pixels; two of them, more are scrolled to


class DownloadStrip(QScrollArea):
    """Signals:
    show_requested: the folder of a model that is whole.
    token_requested: the DownloadPlan of a model that needs a token.
    """

    show_requested = Signal(str)
    token_requested = Signal(object)

    def __init__(self, downloads: Downloads, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._downloads = downloads
        self._rows: dict[str, DownloadRow] = {}
        self.setAccessibleName("Downloads")
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._content = QWidget(self)
        self._column = QVBoxLayout(self._content)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACE[0])
        self.setWidget(self._content)
        self._content.installEventFilter(self)
        self.hide()
        downloads.changed.connect(self._on_changed)
        downloads.removed.connect(self._on_removed)
        for status in downloads.all:
            self._on_changed(status)

    @property
    def rows(self) -> tuple[DownloadRow, ...]:
        """In their order."""
        return tuple(self._rows.values())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self._fit()
        return super().eventFilter(watched, event)

    def _fit(self) -> None:
        # Sentences of failures wrap, so the height follows from the width.
        width = self.viewport().width()
        height = self._column.heightForWidth(width) if self._column.hasHeightForWidth() else -1
        self.setFixedHeight(min(max(height, self._column.sizeHint().height()), _MOST_HEIGHT))

    @Slot(object)
    def _on_changed(self, status: DownloadStatus) -> None:
        row = self._rows.get(status.key)
        if row is not None:
            row.show_status(status)
            return
        row = self._rows[status.key] = DownloadRow(status, self._content)
        row.pause_requested.connect(self._downloads.pause)
        row.resume_requested.connect(self._downloads.resume)
        row.cancel_requested.connect(self._downloads.cancel)
        row.show_requested.connect(self.show_requested)
        row.token_requested.connect(self.token_requested)
        self._column.addWidget(row)
        self._fit()
        self.show()

    @Slot(str)
    def _on_removed(self, key: str) -> None:
        row = self._rows.pop(key)
        self._column.removeWidget(row)
        row.hide()
        row.deleteLater()
        self._fit()
        self.setVisible(bool(self._rows))
