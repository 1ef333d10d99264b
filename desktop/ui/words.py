"""What the window says about the engine's state, about a finished reply, and on the button of a failure."""

from __future__ import annotations

from desktop.domain.conversation import Message, MessageState
from desktop.domain.counting import counted
from desktop.domain.engine_config import Backend
from desktop.domain.errors import Action
from desktop.domain.evaluation import Grade, Interval, Side
from desktop.domain.generation import FinishReason
from desktop.domain.server_address import server_model
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.ui.format import card_label

BACKEND_NAMES = {
    Backend.TURBOMIND: "TurboMind",
    Backend.PYTORCH: "PyTorch engine",
    Backend.CPU: "CPU",
    Backend.SERVER: "Server",
}
ACTION_LABELS = {
    Action.CHOOSE_MODEL: "Choose another model…",
    Action.CONNECT: "Connect to a server…",
    Action.RELOAD: "Load the model again",
    Action.CONTINUE: "Go on",
    Action.REGENERATE: "Write another reply",
    Action.NEW_CHAT: "New chat",
    Action.RETRY_SAVE: "Save now",
    Action.SHOW_MODELS: "Show the models",
    Action.SHOW_JOBS: "Show the jobs",
}
_SEPARATOR = " · "


DEMO_NAME = "Demo model"


def model_name(status: EngineStatus, demo_path: str = "") -> str:
    """What the model is called; "" when none was asked for. demo_path: the folder whose own name says little."""
    if status.path and status.path == demo_path:
        return DEMO_NAME
    if status.info is not None and status.info.model_name:
        return status.info.model_name
    if status.checkpoint is not None:
        return status.checkpoint.name
    if (served := server_model(status.path)) is not None:
        return served.name or served.place
    return status.path.rstrip("/").rpartition("/")[2]


def engine_line(status: EngineStatus) -> str:
    """The line beside the model's name: what it is and what runs it, or what is going on."""
    if status.state is EngineState.LOADING:
        if status.progress is None:
            return "starting"
        share = "" if status.progress.fraction is None else f" {status.progress.fraction:.0%}"
        return f"{status.progress.stage}{share}"
    if status.state is EngineState.STOPPING:
        return "unloading"
    if status.state is EngineState.FAILED:
        return "failed"
    if status.info is None:
        return "not loaded" if status.path else "choose one to begin"
    parts = []
    if status.checkpoint is not None and status.checkpoint.quantization is not None:
        parts.append(status.checkpoint.quantization.method.upper())
    parts.append(status.info.reason or BACKEND_NAMES.get(status.info.backend, status.info.backend))
    return _SEPARATOR.join(parts)


def engine_explanation(status: EngineStatus, demo_path: str = "") -> str:
    """The whole of it, for a tooltip and a screen reader."""
    lines = [model_name(status, demo_path) or "No model", engine_line(status)]
    if status.checkpoint is not None and status.checkpoint.label:
        lines.append(status.checkpoint.label)
    if status.info is not None and status.info.context_length:
        lines.append(f"{counted(status.info.context_length, 'token')} of context")
    if status.path:
        lines.append(status.path)
    if status.failure is not None:
        lines.append(status.failure.message)
    return "\n".join(lines)


def reply_line(message: Message) -> str:
    """What is measured about a reply and why it ended, where that is worth a word."""
    parts = []
    if message.state is MessageState.STOPPED:
        parts.append("stopped")
    elif message.finish_reason is FinishReason.LENGTH:
        parts.append("cut off at the token limit")
    elif message.finish_reason is FinishReason.CUT_JSON:
        parts.append("cut off at the token limit, not valid JSON")
    if message.stats is not None:
        count = message.stats.completion_tokens
        parts.append(counted(count, "token") if count else "the model wrote nothing")
        if message.stats.tokens_per_second:
            parts.append(speed(message.stats.tokens_per_second))
        if message.stats.time_to_first_token:
            parts.append(f"first token {message.stats.time_to_first_token:.2f} s")
        if message.stats.cached_tokens:
            parts.append(f"{message.stats.cached_tokens:,} cached")
    return _SEPARATOR.join(parts)


def grade_tone(grade: Grade | None) -> str:
    """The name of the colour in which a verdict is written."""
    good = grade in (Grade.INDISTINGUISHABLE, Grade.GOOD)
    return "ok" if good else "danger" if grade is Grade.POOR else "text"


def interval_words(figure: Interval, digits: int) -> str:
    """'8.40 (8.10 to 8.60)'."""
    return f"{figure.value:,.{digits}f} ({figure.low:,.{digits}f} to {figure.high:,.{digits}f})"


def perplexity_words(figure: Interval) -> str:
    """With as many digits as say something."""
    return interval_words(figure, 0 if figure.value >= 1000 else 2)


def place_words(side: Side) -> str:
    """What ran it: 'TurboMind, RTX 4090', or 'CPU'."""
    name = BACKEND_NAMES[side.backend]
    return name if side.device in ("", name) else f"{name}, {card_label(side.device)}"


def speed(tokens_per_second: float) -> str:
    """'128 tok/s', with one digit after the point below 10."""
    digits = 1 if tokens_per_second < 10 else 0
    return f"{tokens_per_second:,.{digits}f} tok/s"
