"""Fonts, colours and sizes that a body draws with: worked out once for its font and palette."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtGui import QColor, QFont, QFontDatabase, QFontInfo, QFontMetricsF
from PySide6.QtWidgets import QWidget

from desktop.ui.theme import DARK, Palette, current_palette

HEADING_SIZES = (0.0, 1.55, 1.3, 1.15, 1.05, 1.0, 1.0)  # times the text's size
_FORMULA_GROWTH = 1.12  # small letters of the formulas' font are smaller than those of most others
LINE_HEIGHT = 1.3  # times the font's

_CODE_LIGHT = {"k": "#8250a8", "s": "#1d7444", "n": "#0a5fb5", "c": "#7a8088", "m": "#a8541a", "e": "#b3261e"}
_CODE_DARK = {"k": "#c9a2f0", "s": "#8fd0a0", "n": "#8cc2ff", "c": "#858d96", "m": "#f0b184", "e": "#f2867e"}


@dataclass(frozen=True)
class Style:
    """colours: the theme's. code: colour of each kind that code_colours names. ratio: device pixels per pixel."""

    colours: Palette
    font: QFont
    code_font: QFont
    metrics: QFontMetricsF
    bold_metrics: QFontMetricsF
    code_metrics: QFontMetricsF
    code: dict[str, QColor]
    formula_size: float  # pixels
    ratio: float

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for styles that draw the same."""
        return (self.colours.text, self.font.toString(), self.ratio)


def style_for(widget: QWidget) -> Style:
    """The style for a widget as it is now."""
    colours = current_palette()
    font = QFont(widget.font())
    bold = QFont(font)
    bold.setBold(True)
    code_font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    code_font.setPointSizeF(max(6.0, font.pointSizeF() - 0.5))
    code_font.setFixedPitch(True)
    kinds = _CODE_DARK if colours is DARK else _CODE_LIGHT
    return Style(
        colours=colours,
        font=font,
        code_font=code_font,
        metrics=QFontMetricsF(font),
        bold_metrics=QFontMetricsF(bold),
        code_metrics=QFontMetricsF(code_font),
        code={kind: QColor(name) for kind, name in kinds.items()},
        formula_size=QFontInfo(font).pixelSize() * _FORMULA_GROWTH,
        ratio=widget.devicePixelRatioF(),
    )
