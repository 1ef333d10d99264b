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


def test_the_unit_follows_a_value_that_is_set_in_silence(qtbot: QtBot) -> None:
    box = NumberBox()
    qtbot.addWidget(box)
    box.setRange(1, 10_000)
    box.setSuffix(" tokens")
    assert box.text() == "1 token"
    box.blockSignals(True)
    box.setValue(8192)
    assert box.text() == "8192 tokens"
