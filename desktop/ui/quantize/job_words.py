"""What is said of a job on screen."""

from __future__ import annotations

from datetime import datetime

from desktop.domain.counting import counted
from desktop.domain.memory_reading import CardReading
from desktop.domain.quantization import QuantizationPlan
from desktop.domain.quantization_preflight import Needs
from desktop.domain.quantization_source import QuantizationSource
from desktop.jobs.job_record import JobRecord, JobStatus
from desktop.jobs.messages import JobStep, Progress
from desktop.ui.format import card_label, format_bytes

_STEPS = {
    JobStep.STARTING: "Starting",
    JobStep.READING_TEXT: "Reading the text",
    JobStep.LOADING: "Loading the model",
    JobStep.CALIBRATING: "Calibrating",
    JobStep.SMOOTHING: "Smoothing",
    JobStep.PACKING: "Packing the weights",
    JobStep.SAVING: "Writing the result",
    JobStep.CHECKING: "Checking the result",
    JobStep.ASKING: "Asking the prompts",
    JobStep.READING_ALONG: "Reading along",
}


def needs_words(needs: Needs, card: CardReading | None = None) -> str:
    """What a job will need. card: the one that it runs on, where there are several."""
    parts = [f"{format_bytes(needs.disk)} on the disk", f"{format_bytes(needs.host)} of memory"]
    if needs.card:
        where = f" on card {card.index}, {card_label(card.name)}" if card is not None else ""
        parts.append(f"{format_bytes(needs.card)} of video memory{where}")
    return f"{', '.join(parts)}; the weights of the result take {format_bytes(needs.result)}."


def kept_words(plan: QuantizationPlan, source: QuantizationSource, skipped: tuple[str, ...], share: float) -> str:
    """What keeping layers costs and brings, forecast from the files and from the errors of the job before.

    skipped: what LMDeploy keeps by itself. share: of the error of all layers, 0 to 1.
    """
    more = source.result_bytes(plan.method, (*skipped, *plan.kept)) - source.result_bytes(plan.method, skipped)
    return (
        f"{counted(len(plan.kept), 'layer')} in 16 bit: {', '.join(plan.kept)}. The weights take {format_bytes(more)} "
        f"more, and {share:.0%} of the error of all layers goes (forecast)."
    )


def step_words(progress: Progress | None) -> str:
    """ "Calibrating, layer 3 of 28, about 4 min left (forecast)"."""
    if progress is None:
        return "Starting"
    parts = [_STEPS[progress.step]]
    if progress.layers:
        parts.append(f"layer {progress.layer} of {progress.layers}")
    if progress.seconds_left is not None:
        parts.append(f"about {duration(progress.seconds_left)} left (forecast)")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """ "40 s", "4 min", "2 h 5 min"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def end_words(record: JobRecord) -> str:
    """How a job ended, as the end of a sentence."""
    if record.failure is not None:
        return record.failure.message.removesuffix(".")
    took = f" in {duration(record.ended_at - record.started_at)}" if record.started_at and record.ended_at else ""
    verdict = f", the verdict is {record.evaluation.grade.value}" if record.evaluation is not None else ""
    return f"done{took}{verdict}"


def status_words(record: JobRecord) -> str:
    """How a job stands, short."""
    if record.status is JobStatus.QUEUED:
        return "waits for its turn"
    if record.status is JobStatus.RUNNING:
        return f"{record.progress.fraction:.0%}" if record.progress is not None else "starting"
    if record.status is JobStatus.ALONE:
        return "goes on by itself"
    when = f"{datetime.fromtimestamp(record.ended_at):%Y-%m-%d %H:%M}" if record.ended_at else ""
    if record.status is JobStatus.STOPPED:
        return f"stopped {when}".strip()
    if record.status is JobStatus.FAILED:
        return f"failed {when}".strip()
    words = record.evaluation.grade.value if record.evaluation is not None else "done"
    took = f"took {duration(record.ended_at - record.started_at)}" if record.started_at and record.ended_at else ""
    return ", ".join(filter(None, (words, took, when)))
