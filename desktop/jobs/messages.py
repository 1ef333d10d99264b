"""What a job is, what its process tells while it runs, and how it ends: the messages between window and job."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from desktop.domain.calibration import CalibrationSource, CalibrationStatistics, ShippedText
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure
from desktop.domain.evaluation import Evaluation, Side
from desktop.domain.quantization import QuantizationPlan


class QuantizeJob(msgspec.Struct, frozen=True, kw_only=True, tag="quantize"):
    """Quantize one checkpoint. source_name, revision: as a hub knows the source, "" where it does not."""

    plan: QuantizationPlan
    calibration: tuple[CalibrationSource, ...] = (ShippedText(),)
    source_name: str = ""
    revision: str = ""


class CountCalibrationJob(msgspec.Struct, frozen=True, kw_only=True, tag="count_calibration"):
    """Count what calibration text gives with a checkpoint's tokenizer, all of it."""

    checkpoint: str
    calibration: tuple[CalibrationSource, ...]
    samples: int = 128
    sequence_length: int = 2048
    seed: int = 0
    trust_remote_code: bool = False


class TryJob(msgspec.Struct, frozen=True, kw_only=True, tag="try"):
    """Quantize the first layer of a plan's source and throw it away, to know what the whole would take."""

    plan: QuantizationPlan
    calibration: tuple[CalibrationSource, ...] = (ShippedText(),)


class EvaluationText(msgspec.Struct, frozen=True, kw_only=True):
    """What two models are compared over: what calibration never sees of these sources.

    name: for the screen. tokens: at most so many. window: tokens that are read at once; each window begins anew.
    """

    sources: tuple[CalibrationSource, ...] = (ShippedText(),)
    name: str = "the text that comes with Turbodesk"
    tokens: int = 4096
    window: int = 512


class MeasureJob(msgspec.Struct, frozen=True, kw_only=True, tag="measure"):
    """Run the first of two models over a text. work: a folder for the log-probabilities, removed by whoever made it.

    prompts: answered greedily with at most reply_tokens tokens each.
    """

    checkpoint: str
    name: str
    config: EngineConfig
    text: EvaluationText
    work: str
    prompts: tuple[str, ...] = ()
    reply_tokens: int = 128


class CompareJob(msgspec.Struct, frozen=True, kw_only=True, tag="compare"):
    """Run the second over the same text, in the same work folder. original: what the first one gave."""

    original: Side
    other: MeasureJob


Job = QuantizeJob | TryJob | CountCalibrationJob | MeasureJob | CompareJob


class Start(msgspec.Struct, frozen=True, tag="start"):
    """The first message to the child. state_file: where it keeps a JobState, for when nobody listens; "": nowhere."""

    job: Job
    state_file: str = ""


class Detach(msgspec.Struct, frozen=True, tag="detach"):
    """Go on when the window is gone. log_file: where lines are printed from now on; "": nowhere."""

    log_file: str = ""


class JobStep(StrEnum):
    """Where a job is."""

    STARTING = "starting"
    READING_TEXT = "reading_text"
    LOADING = "loading"
    CALIBRATING = "calibrating"
    SMOOTHING = "smoothing"
    PACKING = "packing"
    SAVING = "saving"
    CHECKING = "checking"
    ASKING = "asking"
    READING_ALONG = "reading_along"


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """How far it is. fraction: of the whole job, 0 until the time left is known; never goes back.

    seconds_left: forecast from what was measured so far; None: nothing was measured yet. layer: of `layers`, counted
    from 1, where the step goes by layers.
    """

    step: JobStep
    fraction: float = 0.0
    seconds_left: float | None = None
    layer: int = 0
    layers: int = 0


class LayerError(msgspec.Struct, frozen=True, kw_only=True, tag="layer_error"):
    """What quantizing did to a linear layer: |y' - y| / |y| of its output y for some of the calibration's inputs.

    of_weights: there was no calibration, and the same was computed of the weights instead.
    """

    name: str
    error: float
    of_weights: bool = False


class Quantized(msgspec.Struct, frozen=True, kw_only=True, tag="quantized"):
    """A new checkpoint is at `path`. weight_bytes: of its weights file. seconds: the whole job.

    peak_host, peak_card: bytes that the process held at most, measured; peak_card 0 on a CPU.
    """

    path: str
    seconds: float
    weight_bytes: int
    peak_host: int
    peak_card: int = 0
    calibration: CalibrationStatistics | None = None
    layer_errors: tuple[LayerError, ...] = ()


class Tried(msgspec.Struct, frozen=True, kw_only=True, tag="tried"):
    """The answer to TryJob. seconds: of the whole job, forecast; layer_seconds: of the one layer, measured.

    peak_host, peak_card: bytes that the process held at most with one layer, measured. On a card the job itself takes
    as much, since it has one layer there at a time; in the machine it holds the whole model in addition.
    """

    seconds: float
    layer_seconds: float
    peak_host: int
    peak_card: int = 0
    calibration: CalibrationStatistics | None = None


class CalibrationCounted(msgspec.Struct, frozen=True, tag="calibration_counted"):
    """The answer to CountCalibrationJob."""

    statistics: CalibrationStatistics


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """The answer to MeasureJob."""

    side: Side


class Compared(msgspec.Struct, frozen=True, tag="compared"):
    """The answer to CompareJob."""

    evaluation: Evaluation


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The job ended without a result."""

    failure: Failure


ToJob = Start | Detach
JobEvent = Progress | LayerError
JobResult = Quantized | Tried | CalibrationCounted | Measured | Compared
FromJob = JobEvent | JobResult | Failed


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What a job's state file says: the process, when it was written (seconds since 1970), the newest of each kind."""

    pid: int
    written_at: float
    progress: Progress | None = None
    ended: JobResult | Failed | None = None
