"""The strip at the top: the program's name, the model in the middle, how to reach the commands."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QMenu, QProgressBar, QToolButton, QWidget

from desktop.services.engine_status import EngineState, EngineStatus
from desktop.ui.icons import icon
from desktop.ui.model_button import ModelButton
from desktop.ui.theme import SPACE, TYPE, font_of

HEIGHT = 44


class Header(QFrame):
    """Signals:
    stop_requested: stop loading.
    """

    stop_requested = Signal()

    def __init__(self, menu: QMenu, demo_path: str, parent: QWidget | None = None) -> None:
        """menu: what the model button opens."""
        super().__init__(parent)
        self.setObjectName("Header")
        self.setFixedHeight(HEIGHT)
        name = QLabel("Turbodesk", self)
        name.setFont(font_of(name, TYPE.body, bold=True))
        self.model_button = ModelButton(demo_path, self)
        self.model_button.setMenu(menu)
        self._stop = QToolButton(self)
        self._stop.setIcon(icon("close"))
        self._stop.setIconSize(QSize(16, 16))
        self._stop.setToolTip("Stop loading")
        self._stop.setAccessibleName("Stop loading the model")
        self._stop.clicked.connect(self.stop_requested)
        hint = QLabel("Ctrl+K commands", self)
        hint.setProperty("dim", True)
        hint.setFont(font_of(hint, TYPE.small))
        self._progress = QProgressBar(self)
        self._progress.setTextVisible(False)
        self._progress.setFixedHeight(3)
        self._progress.setAccessibleName("Loading the model")
        middle = QHBoxLayout()
        middle.setSpacing(SPACE[0])
        middle.addWidget(self.model_button)
        middle.addWidget(self._stop)
        row = QGridLayout(self)
        row.setContentsMargins(SPACE[3], 0, SPACE[3], 0)
        row.setSpacing(0)
        row.addWidget(name, 0, 0)
        row.addLayout(middle, 0, 1)
        row.addWidget(hint, 0, 2, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row.setColumnStretch(0, 1)
        row.setColumnStretch(2, 1)
        self.set_status(EngineStatus())

    @Slot(object)
    def set_status(self, status: EngineStatus) -> None:
        """Show this status."""
        self.model_button.set_status(status)
        loading = status.state is EngineState.LOADING
        fraction = status.progress.fraction if status.progress is not None else None
        self._progress.setRange(0, 0 if fraction is None else 1_000)
        self._progress.setValue(round((fraction or 0) * 1_000))
        self._progress.setVisible(loading)
        self._stop.setVisible(loading)

    def resizeEvent(self, event: object) -> None:
        self._progress.setGeometry(0, self.height() - 3, self.width(), 3)
