"""The colours can be read, and the window follows the system's light or dark."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel

from desktop.ui import theme
from desktop.ui.theme import DARK, LIGHT, Palette


def luminance(colour: str) -> float:
    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    c = QColor(colour)
    return 0.2126 * linear(c.redF()) + 0.7152 * linear(c.greenF()) + 0.0722 * linear(c.blueF())


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_all_text_can_be_read(colours: Palette):
    for paper in (colours.background, colours.panel, colours.field, colours.accent_soft):
        for ink in (colours.text, colours.dim, colours.danger):
            assert contrast(ink, paper) >= 4.5, (ink, paper)
    for paper in (colours.background, colours.panel, colours.field):
        for ink in (colours.ok, colours.accent):
            assert contrast(ink, paper) >= 4.1, (ink, paper)
    assert contrast(colours.on_accent, colours.accent) >= 4.5


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_every_part_of_a_bar_stands_out_from_what_is_free(colours: Palette):
    for name in ("other", "job", "weights", "kv", "workspace"):
        assert contrast(getattr(colours, name), colours.free) >= 1.6, name


def test_modes(qapp, qtbot):
    label = QLabel("x")
    qtbot.addWidget(label)
    with qtbot.waitExposed(label):
        label.show()
    try:
        for mode, colours in (("dark", DARK), ("light", LIGHT), ("dark", DARK)):
            theme.apply_theme(qapp, mode)
            assert theme.palette_of(label) is colours
        theme.apply_theme(qapp, "system")
        assert theme.palette_of(label) is theme.palette_for(qapp.styleHints().colorScheme())
        assert len(qapp.findChildren(theme._Theme)) == 1
    finally:
        theme.apply_theme(qapp, "light")


def test_an_unknown_scheme_is_light():
    assert theme.palette_for(Qt.ColorScheme.Unknown) is LIGHT
    assert theme.palette_for(Qt.ColorScheme.Dark) is DARK


def test_figures_have_one_width(qapp, qtbot):
    label = QLabel("x")
    qtbot.addWidget(label)
    font = theme.font_of(label, theme.TYPE.small, bold=True)
    assert font.bold()
    assert [tag.toString() for tag in font.featureTags()] == ["tnum"]
