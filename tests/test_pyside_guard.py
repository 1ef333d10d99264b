"""PySide6 6.12.0 on Python 3.11 drops a reference to True at every emit; about 500 abort the interpreter."""

import sys

from PySide6.QtCore import QObject, Signal


class Emitter(QObject):
    happened = Signal(object)


def test_emitting_keeps_the_reference_count_of_true() -> None:
    emitter = Emitter()
    emitter.happened.emit(None)
    before = sys.getrefcount(True)
    for _ in range(2000):
        emitter.happened.emit(None)
    assert abs(sys.getrefcount(True) - before) < 100
