"""Which controls of a scrolled area the Tab key goes to: those in sight, from top to bottom."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QWidget

Spot = tuple[int, int]  # y and x inside the area, in pixels


def spot(widget: QWidget, area: QWidget) -> Spot:
    """Where a descendant of the area begins."""
    corner = widget.mapTo(area, QPoint())
    return corner.y(), corner.x()


def controls(area: QWidget, views: Iterable[QWidget]) -> list[tuple[Spot, QWidget]]:
    """What can be reached by Tab inside these views of the area, in visual order."""
    found = [
        (spot(widget, area), widget)
        for view in views
        for widget in view.findChildren(QWidget)
        if takes_tab(widget) and widget.isVisibleTo(area)
    ]
    return sorted(found, key=_first)


def takes_tab(widget: QWidget) -> bool:
    """Whether Tab stops at this widget."""
    takes = widget.focusPolicy().value & Qt.FocusPolicy.TabFocus.value
    return bool(takes) and widget.isEnabled() and widget.focusProxy() is None


def in_sight(area: QWidget, found: Iterable[tuple[Spot, QWidget]]) -> list[tuple[Spot, QWidget]]:
    """Those of the controls that the area shows at least a part of."""
    return [(at, widget) for at, widget in found if -widget.height() < at[0] < area.height()]


def go(area: QWidget, found: list[tuple[Spot, QWidget]], current: QWidget, *, forward: bool) -> bool:
    """Give the focus to the control before or after current, to the area itself before the first, or to what is beyond.

    current: the area or inside it. False when there is nothing else in the window.
    """
    if current is area and not forward:
        return leave(area, forward=False)
    here = (-1, -1) if current is area else spot(current, area)
    if forward:
        target = next((widget for at, widget in found if at > here), None)
    else:
        target = next((widget for at, widget in reversed(found) if at < here), area)
    if target is None:
        return leave(area, forward=True)
    target.setFocus(_reason(forward=forward))
    return True


def leave(area: QWidget, *, forward: bool) -> bool:
    """Give the focus to the widget after or before the area; False when the window has no other."""
    widget: QWidget | None = area
    while True:
        assert widget is not None
        widget = widget.nextInFocusChain() if forward else widget.previousInFocusChain()
        if widget is None or widget is area:
            return False
        if not area.isAncestorOf(widget) and takes_tab(widget) and widget.isVisibleTo(area.window()):
            widget.setFocus(_reason(forward=forward))
            return True


def chain(first: QWidget, found: Iterable[tuple[Spot, QWidget]]) -> None:
    """Have the window's own order of focus go through the controls right after first."""
    for _at, widget in found:
        QWidget.setTabOrder(first, widget)
        first = widget


def _first(pair: tuple[Spot, QWidget]) -> Spot:
    return pair[0]


def _reason(*, forward: bool) -> Qt.FocusReason:
    return Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason
