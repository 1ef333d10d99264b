"""The keyboard's way through a conversation: Tab goes through what is in sight, from top to bottom, and out again."""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt, QTimer, Slot
from PySide6.QtWidgets import QAbstractScrollArea, QApplication, QWidget

from desktop.ui.chat import focus_order
from desktop.ui.chat.message_column import MessageColumn
from desktop.ui.chat.message_view import MessageView

_TIDY_MILLISECONDS = 200  # at most so often


class FocusWalk(QObject):
    """For one scrolled area, its canvas and the views on it. above: a button that lies over them."""

    def __init__(self, area: QAbstractScrollArea, canvas: QWidget, column: MessageColumn, above: QWidget) -> None:
        super().__init__(area)
        self._area = area
        self._canvas = canvas
        self._column = column
        self._above = above
        self._tidy = QTimer(self)
        self._tidy.setSingleShot(True)
        self._tidy.setInterval(_TIDY_MILLISECONDS)
        self._tidy.timeout.connect(self._on_tidy)
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        application.focusChanged.connect(self._on_focus_changed)

    @property
    def focused_view(self) -> MessageView | None:
        """The view that has the focus, or something in it."""
        focus = QApplication.focusWidget()
        if focus is None or not self._canvas.isAncestorOf(focus):
            return None
        return next((view for view in self._column.views.values() if view is focus or view.isAncestorOf(focus)), None)

    def tidy(self) -> None:
        """Views have come or gone: in a moment, what the keyboard and a screen reader go through is in visual order."""
        if not self._tidy.isActive():
            self._tidy.start()

    def step(self, current: QWidget, *, forward: bool) -> bool:
        """Go on from here; False when there is nothing else in the window. current: the area, or inside it."""
        found = self._in_sight()
        if self._above.isVisible():
            found.append((focus_order.spot(self._above, self._area), self._above))
        return focus_order.go(self._area, found, current, forward=forward)

    def _in_sight(self) -> list[tuple[focus_order.Spot, QWidget]]:
        return focus_order.in_sight(self._canvas, focus_order.controls(self._canvas, self._column.views_in_sight()))

    @Slot()
    def _on_tidy(self) -> None:
        self._column.put_in_order()
        focus_order.chain(self._area, focus_order.controls(self._canvas, self._column.views.values()))

    @Slot(QWidget, QWidget)
    def _on_focus_changed(self, before: QWidget | None, now: QWidget | None) -> None:
        """Focus that comes by Tab from elsewhere to a control out of sight goes to one in sight instead."""
        area = self._area
        from_elsewhere = before is not None and before is not area and not area.isAncestorOf(before)
        if not from_elsewhere or now is None or not self._canvas.isAncestorOf(now):
            return
        if not focus_order.in_sight(self._canvas, [(focus_order.spot(now, self._canvas), now)]):
            stops = self._in_sight()
            (stops[-1][1] if stops else area).setFocus(Qt.FocusReason.BacktabFocusReason)
