"""After the memory ran out: why, in a sentence, and the setting that would have fitted."""

from __future__ import annotations

import re

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure, FailureCode
from desktop.domain.memory import MIB, CardMemory, Forecast, forecast
from desktop.domain.memory_plan import NothingFits, Plan, Wish, forms_of, nearest, plan
from desktop.domain.memory_reading import CardReading, HostReading, MemoryReading, ProcessMemory
from desktop.domain.memory_shape import MemoryShape
from desktop.domain.memory_words import advice, changed, gigabytes

_WORTH_NAMING = 256 * MIB  # what others took meanwhile
_SCARCE = 0.03  # of the machine's memory: so little left says who was killed for it
# So much more than forecast is kept free, step by step, where the setting fitted by its forecast and yet did not.
_STEP, _MOST = 512 * MIB, 16 * 1024 * MIB
_TRIED = re.compile(r"tried to allocate ([\d.]+) ?([kmg]i?b)", re.IGNORECASE)  # torch.OutOfMemoryError
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
_KNOBS = (
    "quant_policy",
    "tp",
    "devices",
    "max_prefill_token_num",
    "max_batch_size",
    "session_len",
    "cache_max_entry_count",
)


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an engine for which the memory was not enough.

    config: of the load, with the backend that ran it. shape: None where it is not known. residual: see forecast().
    before: the reading when the load began. last: the newest one, while the engine still held what it held.
    cards: numbers of the cards it ran on. replies: that were being written.
    """

    config: EngineConfig
    path: str
    shape: MemoryShape | None = None
    residual: int = 0
    before: MemoryReading | None = None
    last: MemoryReading | None = None
    cards: tuple[int, ...] = ()
    replies: int = 0


def explain(problem: Failure, scene: Scene) -> Failure:
    """The same failure with its cause, the setting that would have fitted, and Failure.setting to load with it.

    Failures that are not about memory come back as they are.
    """
    problem = _unmasked(problem, scene)
    if problem.code is FailureCode.KV_CACHE_EXHAUSTED:
        return _explain_cache(problem, scene)
    if problem.code not in (FailureCode.VIDEO_MEMORY_EXHAUSTED, FailureCode.HOST_MEMORY_EXHAUSTED):
        return problem
    found = _forecast(scene)
    cause = _cause(scene, found)
    message = f"{problem.message.removesuffix('.')}: {cause}." if cause else problem.message
    answer = _what_fits(problem, scene)
    if answer is None:
        return msgspec.structs.replace(problem, message=message)
    if isinstance(answer, NothingFits):
        return msgspec.structs.replace(problem, message=message, next_step=advice(answer, scene.config))
    words = ", ".join(changed(scene.config, answer.config))
    return msgspec.structs.replace(
        problem,
        message=message,
        next_step=f"This would have fitted (forecast): {words}.",
        setting=_setting(scene.config, answer.config),
    )


def _unmasked(problem: Failure, scene: Scene) -> Failure:
    """An engine that the system killed when the machine's memory was used up ran out of memory."""
    host = scene.last.host if scene.last is not None else None
    if problem.code is not FailureCode.ENGINE_DIED or "SIGKILL" not in problem.message or host is None:
        return problem
    if not host.total or host.available > _SCARCE * host.total:
        return problem
    return msgspec.structs.replace(
        problem,
        code=FailureCode.HOST_MEMORY_EXHAUSTED,
        message="The system ended the engine because this machine's memory was used up.",
        next_step="Close other programs or choose a smaller model.",
    )


def _explain_cache(problem: Failure, scene: Scene) -> Failure:
    found = _forecast(scene)
    if found is None or scene.shape is None or not found.tokens:
        return problem
    replies = max(1, scene.replies)
    users = "this reply was" if replies == 1 else f"{replies} replies were"
    message = f"The KV cache had no room left: it holds {found.tokens:,} tokens (forecast), and {users} using it."
    forms, memory = forms_of("", scene.shape, scene.path)[:1], _memory(scene)
    context = found.session
    while context * replies > found.tokens * 5 // 4:
        answer = plan(Wish(chats=replies, context=context), forms, memory, scene.config, scene.residual)
        if isinstance(answer, Plan) and answer.forecast.tokens > found.tokens:
            words = ", ".join(changed(scene.config, answer.config))
            return msgspec.structs.replace(
                problem,
                message=message,
                next_step=f"This would hold {answer.forecast.tokens:,} tokens (forecast): {words}.",
                setting=_setting(scene.config, answer.config),
            )
        context //= 2
    return msgspec.structs.replace(problem, message=message)


def _what_fits(problem: Failure, scene: Scene) -> Plan | NothingFits | None:
    memory = _memory(scene)
    if scene.shape is None or not memory:
        return None
    forms = forms_of("", scene.shape, scene.path)[:1]
    least = 0
    if tried := _TRIED.search(problem.detail):
        least = int(float(tried[1]) * _UNITS[tried[2][0].lower()]) + _STEP
    for extra in range(least, least + _MOST, _STEP):
        found = nearest(forms, scene.config, memory, scene.residual + extra)
        if isinstance(found, NothingFits):
            return found if extra == least else None
        if changed(scene.config, found.config):
            return found
    return None


def _forecast(scene: Scene) -> Forecast | None:
    """Of the load for the memory as it was at the end."""
    memory = _memory(scene)
    return forecast(scene.shape, scene.config, memory, scene.residual) if scene.shape and memory else None


def _memory(scene: Scene) -> tuple[CardMemory, ...]:
    """What was there for the engine at the end: all but what others held."""
    reading = scene.last or scene.before
    if reading is None:
        return ()
    if scene.config.backend is Backend.CPU:
        host = reading.host
        return (CardMemory(total=host.total, used=_others_of_host(host)),) if host.total else ()
    found = []
    for card in reading.cards:
        if card.index not in scene.cards or not card.total_bytes:
            continue
        others = _others(card)
        if others is None:  # the driver does not tell: then what was used before the load
            others = next((one.used_bytes for one in _cards(scene.before) if one.uuid == card.uuid), card.used_bytes)
        found.append(CardMemory(total=card.total_bytes, used=others, index=card.index))
    return tuple(found)


def _cause(scene: Scene, found: Forecast | None) -> str:
    """The reason as the end of a sentence, "" where nothing is known."""
    if taken := _taken_meanwhile(scene):
        return taken
    if found is not None and not found.loads:
        free = gigabytes(found.total - found.others)
        return f"with this setting the model needs {gigabytes(found.engine)} (forecast), and {free} were there for it"
    if scene.last is None:
        return ""
    if scene.config.backend is Backend.CPU:
        held, free_bytes = scene.last.host.engine_bytes, scene.last.host.available
    else:
        cards = [card for card in scene.last.cards if card.index in scene.cards and card.total_bytes]
        if not cards:
            return ""
        tightest = min(cards, key=lambda card: card.total_bytes - card.used_bytes)
        held, free_bytes = tightest.engine_bytes or 0, tightest.total_bytes - tightest.used_bytes
    if not held:
        return ""
    return f"the engine held {gigabytes(held)}, and of the rest {gigabytes(free_bytes)} were free a moment before"


def _taken_meanwhile(scene: Scene) -> str:
    """Who took what since the load began, "" where it was little."""
    if scene.before is None or scene.last is None:
        return ""
    if scene.config.backend is Backend.CPU:
        grown = _others_of_host(scene.last.host) - _others_of_host(scene.before.host)
        by_job = scene.last.host.job_bytes - scene.before.host.job_bytes
        who = f"the {scene.last.host.job}" if by_job > grown // 2 else "other programs"
        return f"{who} took {gigabytes(grown)} meanwhile" if grown >= _WORTH_NAMING else ""
    worst, words = _WORTH_NAMING - 1, ""
    for card in scene.last.cards:
        then = next((one for one in scene.before.cards if one.uuid == card.uuid), None)
        if card.index not in scene.cards or then is None:
            continue
        now, before = _others(card), _others(then)
        if now is not None and before is not None and now - before > worst:
            worst = now - before
            words = f"{_who(card, then, worst)} took {gigabytes(worst)} meanwhile"
    return words


def _who(card: CardReading, then: CardReading, grown: int) -> str:
    """The program that took most of it, where one did."""
    before = {process.pid: process.used_bytes or 0 for process in then.processes or ()}
    gains = [
        ((process.used_bytes or 0) - before.get(process.pid, 0), _named(process))
        for process in card.processes or ()
        if not process.of_engine
    ]
    most, name = max(gains, default=(0, ""))
    return name if name and most > grown // 2 else "another program" if most > grown // 2 else "other programs"


def _named(process: ProcessMemory) -> str:
    return process.name if process.of_job is None else f"the {process.of_job}"


def _others(card: CardReading) -> int | None:
    """Bytes that the engine does not hold; None where the driver does not tell."""
    return None if card.engine_bytes is None else card.used_bytes - min(card.engine_bytes, card.used_bytes)


def _others_of_host(host: HostReading) -> int:
    return host.used - min(host.engine_bytes, host.used)


def _cards(reading: MemoryReading | None) -> tuple[CardReading, ...]:
    return reading.cards if reading is not None else ()


def _setting(before: EngineConfig, after: EngineConfig) -> dict[str, object]:
    return {name: getattr(after, name) for name in _KNOBS if getattr(after, name) != getattr(before, name)}
