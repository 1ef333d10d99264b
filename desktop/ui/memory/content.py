"""What the memory gauge says about a reading: words, bars and figures, without a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from desktop.domain.memory_reading import CardReading, HostReading, JobKind, MemoryReading
from desktop.ui.format import GIB, card_label, format_bytes, gigabytes

if TYPE_CHECKING:
    from desktop.domain.engine_memory import EngineMemory

TOOLTIP_PROCESSES = 8


class Segment(msgspec.Struct, frozen=True):
    """A part of a bar. role: the name of its colour in the theme's Palette. reckoned: a part of what was measured."""

    label: str
    bytes: int
    role: str
    reckoned: bool = False

    @property
    def figure(self) -> str:
        """Its size in GB, with a sign where it is not itself a measurement."""
        if not self.reckoned:
            return gigabytes(self.bytes)
        # The weights of a small model are not nothing.
        return f"≈ {gigabytes(self.bytes) if self.bytes >= GIB // 20 else f'{self.bytes / GIB:.2f}'}"


class Bar(msgspec.Struct, frozen=True):
    """One card, or the machine's memory. total 0: not reported. Segments follow each other from the left.

    outline: from where to where the engine was forecast to be, in bytes; None without a forecast.
    """

    label: str
    total: int
    segments: tuple[Segment, ...]
    outline: tuple[int, int] | None = None


class Picture(NamedTuple):
    """What of a content can be seen, part by part."""

    words: object
    bars: object
    legend: object


class GaugeContent(msgspec.Struct, frozen=True):
    """All that the gauge shows. source: what the timeline's figure belongs to; a new source starts a new line."""

    source: str
    title: str
    detail: str
    bars: tuple[Bar, ...]
    used: int
    total: int
    spoken: str

    @property
    def legend(self) -> tuple[Segment, ...]:
        """The segments of all bars together, by label, in the order of the bars."""
        if len(self.bars) == 1:
            return self.bars[0].segments
        sums: dict[str, Segment] = {}
        for bar in self.bars:
            for part in bar.segments:
                known = sums.get(part.label)
                sums[part.label] = Segment(
                    part.label, part.bytes + (known.bytes if known else 0), part.role, part.reckoned
                )
        return tuple(sums.values())

    def picture_key(self, steps: int) -> Picture:
        """Equal for two contents that look the same. steps: pixels of the longest bar, or more."""
        bars = tuple(
            (
                bar.label,
                tuple((s.role, round(s.bytes * steps / bar.total) if bar.total else 0) for s in bar.segments),
                tuple(round(edge * steps / bar.total) for edge in bar.outline) if bar.outline and bar.total else None,
            )
            for bar in self.bars
        )
        return Picture((self.title, self.detail), bars, tuple((s.label, s.figure) for s in self.legend))


LOADING = GaugeContent(
    source="", title="Memory", detail="Reading memory…", bars=(), used=0, total=0, spoken="Reading memory…"
)


def content_of(reading: MemoryReading, engine: EngineMemory | None = None) -> GaugeContent:
    """The cards when there are any, else why there are none and the machine's own memory.

    engine: what is loaded or loading, where that is known.
    """
    return _of_cards(reading, engine) if reading.cards else _of_host(reading, engine)


def _of_cards(reading: MemoryReading, engine: EngineMemory | None) -> GaugeContent:
    cards = reading.cards
    names = {card_label(card.name) for card in cards}
    if len(cards) == 1:
        title = card_label(cards[0].name)
    elif len(names) == 1:
        title = f"{len(cards)} × {names.pop()}"
    else:
        title = f"{len(cards)} cards"
    bars = tuple(
        Bar(
            label=""
            if len(cards) == 1
            else str(card.index)
            if len(names) < 2
            else f"{card.index} {card_label(card.name)}",
            total=card.total_bytes,
            segments=card_segments(card, engine),
            outline=_outline(card.used_bytes, card.engine_bytes, engine if _runs_on(engine, card) else None),
        )
        for card in cards
    )
    used, total = sum(card.used_bytes for card in cards), sum(card.total_bytes for card in cards)
    detail = [f"{gigabytes(used)} of {gigabytes(total)} GB" if total else "memory not reported"]
    if reading.driver_note:
        detail.append(reading.driver_note)
    else:
        temperatures = [card.temperature for card in cards if card.temperature is not None]
        watts = [card.power_watts for card in cards if card.power_watts is not None]
        if temperatures:
            detail.append(f"{max(temperatures)} °C")
        if watts:
            detail.append(f"{sum(watts):.0f} W")
    return GaugeContent(
        source=" ".join(card.uuid or card.name for card in cards),
        title=title,
        detail=" · ".join(detail),
        bars=bars,
        used=used,
        total=total,
        spoken="; ".join(filter(None, (*(_spoken_card(card, engine) for card in cards), reading.driver_note))),
    )


def _of_host(reading: MemoryReading, engine: EngineMemory | None) -> GaugeContent:
    host = reading.host
    amount = f"{gigabytes(host.used)} of {gigabytes(host.total)} GB" if host.total else "not reported"
    held = f", engine {format_bytes(host.engine_bytes)}" if host.engine_bytes else ""
    held += _job_words(host.job, host.job_bytes)
    note = reading.driver_note or "No NVIDIA card"
    title, _, reason = note.partition(": ")
    return GaugeContent(
        source="host",
        title=title,
        detail=" · ".join(filter(None, ("host memory", amount, reason))),
        bars=(
            Bar(
                "",
                host.total,
                host_segments(host, engine),
                _outline(host.used, host.engine_bytes, engine if engine is not None and not engine.cards else None),
            ),
        ),
        used=host.used,
        total=host.total,
        spoken=f"{note}. Host memory: {amount} in use{held}",
    )


def share_used(reading: MemoryReading) -> float:
    """Of all that is shown, 0 to 1."""
    if not reading.cards:
        return reading.host.used / reading.host.total if reading.host.total else 0.0
    total = sum(card.total_bytes for card in reading.cards)
    return sum(card.used_bytes for card in reading.cards) / total if total else 0.0


def card_segments(card: CardReading, engine: EngineMemory | None = None) -> tuple[Segment, ...]:
    """Who holds the card's memory; nothing of the engine's while it holds nothing or cannot be told apart."""
    if not card.total_bytes:
        return ()
    used = min(card.used_bytes, card.total_bytes)
    held, of_job = card.engine_bytes, card.job_bytes
    if held is None or of_job is None:
        shares = [Segment("in use", used, "other")]
    else:
        # Sums over processes may exceed what the card counts, when processes share memory.
        held = min(held, used)
        shares = _not_engine(used - held, card.job, of_job)
        shares += _engine_segments(held, engine if _runs_on(engine, card) else None)
    return (*shares, Segment("free", card.total_bytes - used, "free"))


def host_segments(host: HostReading, engine: EngineMemory | None = None) -> tuple[Segment, ...]:
    """The same for the machine's memory."""
    if not host.total:
        return ()
    held = min(host.engine_bytes, host.used)
    shares = _not_engine(host.used - held, host.job, host.job_bytes)
    shares += _engine_segments(held, engine if engine is not None and not engine.cards else None)
    return (*shares, Segment("free", host.available, "free"))


def _not_engine(used: int, job: JobKind | None, held: int) -> list[Segment]:
    """What the engine does not hold; held: of it by the job."""
    held = min(held, used)
    others = [Segment("other programs", used - held, "other")]
    return others if job is None or not held else [*others, Segment(job.value, held, "job")]


def _engine_segments(held: int, engine: EngineMemory | None) -> list[Segment]:
    if not held:
        return []
    if engine is None:
        return [Segment("this engine", held, "weights")]
    found = engine.shares(held)
    region = "KV cache" if engine.cache_usage is None else "KV cache, not in use"
    parts = (
        Segment("weights", found.weights, "weights", reckoned=True),
        Segment("KV cache in use", found.kv_used, "kv", reckoned=True),
        Segment(region, found.kv_reserved, "kv_reserved", reckoned=True),
        Segment("workspace" if engine.cards else "libraries and cache", found.rest, "workspace", reckoned=True),
    )
    return [part for part in parts if part.bytes]


def _runs_on(engine: EngineMemory | None, card: CardReading) -> bool:
    return engine is not None and card.index in engine.cards


def _outline(used: int, held: int | None, engine: EngineMemory | None) -> tuple[int, int] | None:
    """Where the engine should end up, beside what others hold now."""
    if engine is None or held is None:
        return None
    others = used - min(held, used)
    return others, others + engine.forecast.loaded


def tooltip_of(reading: MemoryReading, engine: EngineMemory | None = None) -> str:
    """Every card with its sensors, its parts and its largest processes, then the machine; plain text."""
    lines: list[str] = []
    for card in reading.cards:
        facts = [
            f"{gigabytes(card.used_bytes)} of {gigabytes(card.total_bytes)} GB" if card.total_bytes else "not reported",
            "" if card.utilisation is None else f"{card.utilisation} % busy",
            "" if card.temperature is None else f"{card.temperature} °C",
            "" if card.power_watts is None else f"{card.power_watts:.0f} W",
        ]
        lines.append(f"{card.index}  {card_label(card.name)}: " + " · ".join(filter(None, facts)))
        if card.processes is None:
            lines.append("     the driver does not list programs")
            continue
        lines += [f"     {part.label}: {part.figure} GB" for part in card_segments(card, engine) if part.reckoned]
        largest = sorted(card.processes, key=lambda process: -(process.used_bytes or 0))
        for process in largest[:TOOLTIP_PROCESSES]:
            amount = "size unknown" if process.used_bytes is None else format_bytes(process.used_bytes)
            name = "this engine" if process.of_engine else process.of_job or process.name or "program"
            lines.append(f"     {amount}  {name} ({process.pid})")
        if len(largest) > TOOLTIP_PROCESSES:
            lines.append(f"     and {len(largest) - TOOLTIP_PROCESSES} more")
    if reading.driver_note:
        lines.append(reading.driver_note)
    host = reading.host
    if host.total:
        held = f", of it this engine {format_bytes(host.engine_bytes)}" if host.engine_bytes else ""
        held += _job_words(host.job, host.job_bytes)
        lines.append(f"Host memory: {gigabytes(host.used)} of {gigabytes(host.total)} GB{held}")
        lines += [f"     {part.label}: {part.figure} GB" for part in host_segments(host, engine) if part.reckoned]
    return "\n".join(lines)


def _job_words(job: JobKind | None, held: int | None) -> str:
    return f", {job.value} {format_bytes(held)}" if job is not None and held else ""


def _spoken_card(card: CardReading, engine: EngineMemory | None) -> str:
    if not card.total_bytes:
        return f"{card_label(card.name)}: memory not reported"
    held = f", engine {format_bytes(card.engine_bytes)}" if card.engine_bytes else ""
    parts = ", ".join(f"{part.label} {part.figure}" for part in card_segments(card, engine) if part.reckoned)
    detail = f" ({parts})" if parts else ""
    name = card_label(card.name)
    detail += _job_words(card.job, card.job_bytes)
    return f"{name}: {gigabytes(card.used_bytes)} of {gigabytes(card.total_bytes)} GB in use{held}{detail}"
