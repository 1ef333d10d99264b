"""What the chart of loads can show of a load, the axis it takes, and the same in words; without a pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from desktop.domain.counting import counted
from desktop.domain.load_run import LoadRun, past_errors
from desktop.ui.format import GIB, format_bytes
from desktop.ui.memory.runs_list_model import end_words, setting_words

_STEPS = 5  # an axis has about so many
_BYTES = ((GIB, "GB"), (2**20, "MB"), (2**10, "kB"))


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a load. Each function gives None where the load has none; axis: see axis()."""

    name: str
    measured: Callable[[LoadRun], float | None]
    forecast: Callable[[LoadRun], float | None]
    text: Callable[[float], str]
    units: tuple[tuple[float, str], ...]


def _no_forecast(_run: LoadRun) -> None:
    return None


FIGURES = (
    Figure("Memory", lambda run: run.measured, lambda run: run.expected, lambda v: format_bytes(round(v)), _BYTES),
    Figure("Tokens/s", lambda run: run.tokens_per_second, _no_forecast, lambda v: f"{v:,.1f} tokens/s", ((1, ""),)),
    Figure(
        "Time to first token", lambda run: run.time_to_first_token, _no_forecast, lambda v: f"{v:.2f} s", ((1, "s"),)
    ),
)


def axis(largest: float, units: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Lines of an axis from 0 to at least largest, in steps of 1, 2 or 5 times a power of ten: value and label."""
    if largest <= 0:
        return ((0.0, "0"),)
    size, unit = next((one for one in units if largest >= one[0]), units[-1])
    exact = largest / size / _STEPS
    power = 10.0 ** math.floor(math.log10(exact))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= exact * (1 - 1e-9))
    count = math.ceil(largest / size / step - 1e-9)
    return tuple((i * step * size, f"{round(i * step, 6):,g} {unit}".strip() if i else "0") for i in range(count + 1))


def when(run: LoadRun) -> str:
    """'2026-11-21 10:02', in this machine's time."""
    return f"{datetime.fromtimestamp(run.started_at):%Y-%m-%d %H:%M}"


def run_words(run: LoadRun) -> str:
    """All figures of a load, in a few lines."""
    lines = [f"{run.name}, {when(run)}", setting_words(run)]
    forecast = "no forecast" if run.expected is None else f"forecast {format_bytes(run.expected)}"
    measured = "not measured" if run.measured is None else f"measured {format_bytes(run.measured)}"
    lines.append(f"{forecast}, {measured}" + (f" ({run.error:+.1%})" if run.error is not None else ""))
    speed = [figure.text(value) for figure in FIGURES[1:] if (value := figure.measured(run)) is not None]
    if speed:
        lines.append(", first token after ".join(speed) if len(speed) == 2 else speed[0])
    lines.append(end_words(run))
    return "\n".join(lines)


def chart_words(runs: Sequence[LoadRun], figure: Figure) -> str:
    """The whole chart in a sentence or two, for those who cannot see it."""
    values = [value for run in runs if (value := figure.measured(run)) is not None]
    said = [f"{figure.name} of {counted(len(runs), 'load')}, from the oldest to the newest."]
    if values:
        said.append(f"Measured between {figure.text(min(values))} and {figure.text(max(values))}.")
    else:
        said.append("Nothing of it was measured.")
    count, mean, _ = past_errors(runs) if figure is FIGURES[0] else (0, 0.0, 0.0)
    if count:
        said.append(f"Forecasts were off by {mean:.1%} in the mean.")
    failed = sum(bool(run.failure) for run in runs)
    if failed:
        said.append(f"{failed} failed.")
    return " ".join(said)
