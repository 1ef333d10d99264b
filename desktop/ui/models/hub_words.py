"""What is said of models on a hub and of downloads."""

from __future__ import annotations

from desktop.domain.hub import RESERVE, HubHit, HubModel
from desktop.domain.shelf import family_words, precision_words
from desktop.services.download_status import DownloadState, DownloadStatus
from desktop.storage.hub_preview import Preview
from desktop.ui.format import format_bytes
from desktop.ui.models.model_words import parameters_row, weights_row

_SEPARATOR = " · "


def hit_line(hit: HubHit) -> str:
    """The line beneath a result's name."""
    likes = "1 like" if hit.likes == 1 else f"{_count(hit.likes)} likes"
    gated, owner = "gated" if hit.gated else "", hit.model_id.rpartition("/")[0]
    return _SEPARATOR.join(filter(None, (gated, f"{_count(hit.downloads)} downloads", likes, owner, hit.licence)))


def preview_facts(model: HubModel, preview: Preview) -> list[tuple[str, str]]:
    """What the hub says of a model, as names and values; nothing that it does not say."""
    rows: list[tuple[str, str]] = []
    checkpoint = preview.checkpoint
    if checkpoint is not None:
        rows += [
            ("Family", family_words(checkpoint)),
            ("Architecture", checkpoint.architecture),
            ("Parameters", parameters_row(checkpoint)),
            ("Precision", precision_words(checkpoint)),
            ("Weights", weights_row(checkpoint)),
        ]
        if checkpoint.context_length:
            rows.append(("Context", f"{checkpoint.context_length:,} tokens"))
        rows.append(("Reads", "text and pictures" if checkpoint.vision else "text"))
        template = "yes" if checkpoint.has_chat_template else "none: it completes text, and may not follow a chat"
        rows.append(("Chat template", template))
    rows += [
        ("Licence", model.licence),
        ("Access", "gated: only for accounts that accepted its owner's conditions" if model.gated else ""),
        ("Revision", model.revision[:12]),
    ]
    return [(name, value) for name, value in rows if value]


def size_line(size: int, free: int | None) -> str:
    """What the download takes, beside what there is."""
    words = format_bytes(size)
    if free is None:
        return words
    if size + RESERVE > free:
        return (
            f"{words}: too much for the disk, where {format_bytes(free)} are free and {format_bytes(RESERVE)} must stay"
        )
    return f"{words}; {format_bytes(free)} are free on the disk"


def download_line(status: DownloadStatus) -> str:
    """How a download stands, in one line; of one that failed, its sentence."""
    amount = f"{format_bytes(status.on_disk)} of {format_bytes(status.total)}"
    if status.state is DownloadState.RUNNING:
        if not status.speed:
            return f"checking{_SEPARATOR}{amount}" if status.plan.repair else amount
        left = "" if status.seconds_left is None else f"{time_words(status.seconds_left)} left"
        return _SEPARATOR.join(filter(None, (amount, f"{format_bytes(round(status.speed))}/s", left)))
    if status.state is DownloadState.FINISHED:
        return (
            "checked: every file is whole"
            if status.plan.repair
            else f"finished{_SEPARATOR}{format_bytes(status.total)}"
        )
    if status.failure is not None and status.state is DownloadState.FAILED:
        return f"{status.failure.message} {status.failure.next_step}"
    return f"{status.state}{_SEPARATOR}{amount}"


def time_words(seconds: float) -> str:
    """'40 s', '3 min', '2 h 10 min'."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _count(number: int) -> str:
    """'12', '3.4 k', '56 k', '1.2 M'."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            amount = number / size
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return str(number)
