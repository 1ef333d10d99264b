"""What is said of a model on the disk."""

from __future__ import annotations

from desktop.domain.checkpoint import Checkpoint
from desktop.domain.counting import counted
from desktop.domain.engine_config import Backend
from desktop.domain.one_line import one_line
from desktop.domain.shelf import ShelfEntry
from desktop.ui.format import format_bytes

ENGINE_NAMES = {Backend.TURBOMIND: "TurboMind", Backend.PYTORCH: "PyTorch engine", Backend.CPU: "CPU"}
_SEPARATOR = " · "
_MOST_NAMED = 3


def facts_line(entry: ShelfEntry) -> str:
    """The line beneath its name: what it is, or what is wrong."""
    if entry.failure is not None:
        return entry.failure.message
    parts = [entry.family]
    checkpoint = entry.checkpoint
    if checkpoint is not None:
        if checkpoint.pickles:  # first, for the line may be cut off
            parts.insert(0, "Pickle weights, loaded only with consent")
        if checkpoint.parameters is not None:
            parts.append(f"{'about ' if checkpoint.pickles else ''}{parameters(checkpoint.parameters)}")
        parts.append(entry.precision_words)
    parts.append(format_bytes(entry.disk_bytes))
    return _SEPARATOR.join(filter(None, parts))


def parameters(count: int) -> str:
    """'8.2 B', '596 M', '3.7 M': as people call a model's size."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            amount = count / size
            return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.1f} {unit}"
    return str(count)


def parameters_row(checkpoint: Checkpoint) -> str:
    """How many it has, or about how many, "" where that is not known."""
    if checkpoint.parameters is None:
        return ""
    if checkpoint.pickles:
        return f"about {parameters(checkpoint.parameters)}, estimated from config.json"
    return f"{parameters(checkpoint.parameters)} ({checkpoint.parameters:,})"


def weights_row(checkpoint: Checkpoint) -> str:
    """What there is to say of its weights files: which of them are pickles; "" for none."""
    pickles = checkpoint.pickles
    if not pickles:
        return ""
    more = f" and {counted(len(pickles) - _MOST_NAMED, 'more file')}" if len(pickles) > _MOST_NAMED else ""
    files = ", ".join(one_line(name, 100) for name in pickles[:_MOST_NAMED]) + more
    return f"pickles, which can run programs when they are opened: {files}. You are asked before they are loaded."


def facts(entry: ShelfEntry) -> list[tuple[str, str]]:
    """What the folder says, as names and values; nothing that it does not say."""
    rows: list[tuple[str, str]] = []
    config, checkpoint = entry.config, entry.checkpoint
    if config is not None:
        rows += [("Family", entry.family), ("Architecture", config.architecture)]
    if checkpoint is not None:
        rows.append(("Note", checkpoint.label))
        rows += [("Parameters", parameters_row(checkpoint)), ("Precision", entry.precision_words)]
        rows.append(("Weights", weights_row(checkpoint)))
    rows.append(("On the disk", format_bytes(entry.disk_bytes)))
    if config is not None:
        if config.context_length:
            rows.append(("Context", f"{config.context_length:,} tokens"))
        rows.append(("Reads", "text and pictures" if config.vision else "text"))
    if checkpoint is not None:
        template = "yes" if checkpoint.has_chat_template else "none: it completes text, and may not follow a chat"
        rows.append(("Chat template", template))
    card, source = entry.card, entry.source
    rows += [
        ("Licence", card.license_name or card.license),
        ("Made from", ", ".join(card.base_models)),
        ("Languages", ", ".join(card.languages)),
        ("Found in", source.kind.words),
        ("Revision", _SEPARATOR.join(filter(None, (source.revision[:12], ", ".join(source.refs))))),
        ("Folder", entry.path),
    ]
    return [(name, value) for name, value in rows if value]
