"""What the controls say by themselves."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from desktop.ui.controls import NumberBox


def test_one_thing_is_not_said_in_the_plural(qtbot: QtBot) -> None:
    box = NumberBox()
    qtbot.addWidget(box)
    box.setRange(0, 10_000)
    box.setSuffix(" tokens")
    box.setValue(1)
    assert box.text() == "1 token"
    box.setValue(512)
    assert box.text() == "512 tokens"
    box.lineEdit().selectAll()
    qtbot.keyClicks(box, "10")
    assert (box.value(), box.text()) == (10, "10 tokens")
