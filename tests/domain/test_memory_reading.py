"""Whose memory it is, when the driver tells and when it does not."""

from __future__ import annotations

import msgspec

from desktop.domain.memory_reading import CardReading, ProcessMemory

GIB = 2**30


def test_shares_that_the_driver_does_not_tell_are_unknown():
    card = CardReading(index=0, uuid="", name="", total_bytes=24 * GIB, used_bytes=9 * GIB)
    unknown = msgspec.structs.replace(card, processes=(ProcessMemory(7, None), ProcessMemory(8, GIB)))
    assert unknown.with_engine({7}).engine_bytes is None
    assert unknown.with_engine({8}).engine_bytes == GIB
    assert unknown.with_engine({9}).engine_bytes == 0
    assert msgspec.structs.replace(card, processes=None).with_engine({7}).engine_bytes is None
