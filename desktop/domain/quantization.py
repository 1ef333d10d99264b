"""How a 16-bit checkpoint can be quantized: the methods in words, and the plan of one job."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import Literal

import msgspec

from desktop.domain.engine_config import Backend
from desktop.domain.errors import FailureCode, error

# TurboMind loads no other (LMDeploy's turbomind/converter.py).
GROUP_SIZE = 128


class QuantizationMethod(StrEnum):
    """What can be done with the linear layers of a model. Symmetric weights (w_sym) are none of it: they crash."""

    AWQ = "awq"
    AWQ_SEARCH = "awq_search"
    ROUND = "round"
    INT8 = "int8"
    FP8 = "fp8"
    GPTQ = "gptq"


class MethodFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A method in words for the screen, each a short sentence. bits: of a weight. calibrates: reads calibration text.

    backends: those that run the result.
    """

    method: QuantizationMethod
    name: str
    memory: str
    speed: str
    quality: str
    engine: str
    bits: int
    calibrates: bool
    backends: tuple[Backend, ...]


_M = QuantizationMethod
_QUARTER = "The layers take about a quarter of the memory."
_HALF = "The layers take about half of the memory."
_FOUR_BITS_SPEED = "Short answers come faster, because fewer bytes are read for each token."
_RUNS_EVERYWHERE = "Runs on TurboMind, on the PyTorch engine and on the CPU."
_EVERYWHERE = (Backend.TURBOMIND, Backend.PYTORCH, Backend.CPU)
_RUNS_ON_PYTORCH = "Runs on LMDeploy's PyTorch engine only, not on TurboMind or the CPU."

METHODS: tuple[MethodFacts, ...] = (
    MethodFacts(
        method=_M.AWQ,
        name="AWQ, 4 bits",
        memory=_QUARTER,
        speed=_FOUR_BITS_SPEED,
        quality="Calibration text shows which inputs matter; their weights are kept more exact.",
        engine=_RUNS_EVERYWHERE,
        bits=4,
        calibrates=True,
        backends=_EVERYWHERE,
    ),
    MethodFacts(
        method=_M.AWQ_SEARCH,
        name="AWQ, 4 bits, with a search for the best scales",
        memory=_QUARTER,
        speed=_FOUR_BITS_SPEED,
        quality="Tries twenty scales for every group of layers: often a little better, and many times slower.",
        engine=_RUNS_EVERYWHERE,
        bits=4,
        calibrates=True,
        backends=_EVERYWHERE,
    ),
    MethodFacts(
        method=_M.ROUND,
        name="Round to nearest, 4 bits",
        memory=_QUARTER,
        speed=_FOUR_BITS_SPEED,
        quality="Needs no calibration text and is done soonest, but loses the most.",
        engine=_RUNS_EVERYWHERE,
        bits=4,
        calibrates=False,
        backends=_EVERYWHERE,
    ),
    MethodFacts(
        method=_M.INT8,
        name="SmoothQuant, 8-bit integers",
        memory=_HALF,
        speed="Long prompts and many chats at once gain, because the arithmetic is in 8 bits too.",
        quality="Loses less than 4 bits do.",
        engine=_RUNS_ON_PYTORCH,
        bits=8,
        calibrates=True,
        backends=(Backend.PYTORCH,),
    ),
    MethodFacts(
        method=_M.FP8,
        name="SmoothQuant, 8-bit floating point",
        memory=_HALF,
        speed="As 8-bit integers, on cards that compute in FP8 (from Ada and Hopper on).",
        quality="Loses less than 4 bits do, and copes better with outliers than integers.",
        engine=_RUNS_ON_PYTORCH,
        bits=8,
        calibrates=True,
        backends=(Backend.PYTORCH,),
    ),
    MethodFacts(
        method=_M.GPTQ,
        name="GPTQ, 4 bits",
        memory=_QUARTER,
        speed=_FOUR_BITS_SPEED,
        quality="Corrects the error of each weight in those that follow; much slower to make than AWQ.",
        engine="Runs on TurboMind only.",
        bits=4,
        calibrates=True,
        backends=(Backend.TURBOMIND,),
    ),
)
_FACTS = {facts.method: facts for facts in METHODS}


def facts_of(method: QuantizationMethod) -> MethodFacts:
    """The words of one method."""
    return _FACTS[method]


class QuantizationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One job. source: a checkpoint's folder. target: the folder to appear, beside which the job works.

    samples, sequence_length: calibration sequences and the tokens of each. batch_size: sequences that go through a
    layer at once. kept: parts of module names ("layers.0.") whose layers stay as they are. card: its number where
    device is "cuda"; card_uuid: the driver's name for it, by which alone CUDA finds every MIG instance. seed: of the
    choice of calibration text.
    """

    source: str
    target: str
    method: QuantizationMethod
    samples: int = 128
    sequence_length: int = 2048
    batch_size: int = 1
    group_size: int = GROUP_SIZE
    device: Literal["cpu", "cuda"] = "cuda"
    card: int = 0
    card_uuid: str = ""
    seed: int = 0
    kept: tuple[str, ...] = ()
    trust_remote_code: bool = False

    @property
    def facts(self) -> MethodFacts:
        """The words of its method."""
        return facts_of(self.method)

    @property
    def dtype(self) -> str:
        """LMDeploy's dtype: as the model has it, but on a CPU float16, since LMDeploy refuses bfloat16 there."""
        return "float16" if self.device == "cpu" else "auto"

    @property
    def calibration_tokens(self) -> int:
        """Of all sequences together; 0 where the method reads none."""
        return self.samples * self.sequence_length if self.facts.calibrates else 0

    def problems(self) -> list[str]:
        """What cannot work whatever the model is, in words; empty when all is well."""
        found = []
        if self.group_size != GROUP_SIZE:
            found.append(f"the group size is {self.group_size}, and TurboMind loads {GROUP_SIZE} only")
        if not 1 <= self.samples <= 4096:
            found.append("there must be between 1 and 4096 samples")
        if not 16 <= self.sequence_length <= 32768:
            found.append("a sequence must have between 16 and 32,768 tokens")
        if not 1 <= self.batch_size <= self.samples:
            found.append("the batch must have at least 1 sequence and at most as many as there are samples")
        if self.method is QuantizationMethod.AWQ_SEARCH and self.samples % self.batch_size:
            found.append("for the search the number of samples must be a multiple of the batch size")
        if self.method is QuantizationMethod.GPTQ and self.device == "cpu":
            found.append("GPTQ needs a card")
        if self.kept and self.method is QuantizationMethod.GPTQ:
            found.append("GPTQ cannot leave chosen layers as they are")
        if any(not name.strip() for name in self.kept):
            found.append("a layer to be kept has no name")
        return found

    def check(self) -> None:
        """Raise TurbodeskError (quantization_refused) naming every problem."""
        if found := self.problems():
            raise error(FailureCode.QUANTIZATION_REFUSED, model="The model", reason="; ".join(found))


_COMMANDS = {
    _M.AWQ: "auto_awq",
    _M.AWQ_SEARCH: "auto_awq",
    _M.ROUND: "auto_awq",
    _M.INT8: "smooth_quant",
    _M.FP8: "smooth_quant",
    _M.GPTQ: "auto_gptq",
}


def command_line(plan: QuantizationPlan, built_in_set: str = "") -> str:
    """The same job as a shell command.

    LMDeploy's command reads calibration text from its own online sets only: built_in_set, or the one that it takes by
    itself. python_script() makes the same job with any text. The command cannot keep layers (`kept`) either.
    """
    words = ["lmdeploy", "lite", _COMMANDS[plan.method], plan.source, "--work-dir", plan.target]
    if plan.device == "cpu":
        words = ["CUDA_VISIBLE_DEVICES=", *words]
    if built_in_set and plan.facts.calibrates:
        words += ["--calib-dataset", built_in_set]
    for name, value in lite_arguments(plan).items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not False:
            words += [flag, str(value)]
    return " ".join(word if word == "CUDA_VISIBLE_DEVICES=" else shlex.quote(word) for word in words)


def python_script(plan: QuantizationPlan, calibration_file: str) -> str:
    """The same job with the same calibration tokens as a Python program.

    calibration_file: the JSON Lines that a job leaves in its result, an `input_ids` list for each sequence. The weights
    come out the same, bit for bit.
    """
    command = _COMMANDS[plan.method]
    module = "gptq" if command == "auto_gptq" else command
    arguments = "".join(f"    {name}={value!r},\n" for name, value in lite_arguments(plan).items())
    lines = ["import json", "import os", ""]
    if plan.device == "cpu":
        lines += ['os.environ["CUDA_VISIBLE_DEVICES"] = ""', ""]
    lines.append("import torch")
    if plan.facts.calibrates:
        holder = "gptq" if command == "auto_gptq" else "calibrate"
        lines.append(f"import lmdeploy.lite.apis.{holder} as {holder}")
    if plan.kept:
        lines.append("import lmdeploy.lite.quantization.awq as awq")
    lines += [f"from lmdeploy.lite.apis.{module} import {command}", ""]
    if plan.facts.calibrates:
        lines += [
            f"with open({calibration_file!r}) as file:",
            '    samples = [torch.tensor([json.loads(line)["input_ids"]]) for line in file]',
            f"{holder}.get_calib_loaders = lambda *args, **kwargs: samples",
        ]
    if plan.kept:
        lines.append(f"awq.SKIPPED_MODULE.extend({list(plan.kept)!r})")
    lines += [f"{command}(", f"    {plan.source!r},", f"    work_dir={plan.target!r},"]
    return "\n".join(lines) + "\n" + arguments + ")\n"


def lite_arguments(plan: QuantizationPlan) -> dict[str, str | int | bool]:
    """The keywords of LMDeploy's function apart from the two folders; its command's flags are named after them."""
    calibrates = plan.facts.calibrates
    found: dict[str, str | int | bool] = {"calib_samples": plan.samples if calibrates else 0}
    if calibrates:
        found |= {"calib_seqlen": plan.sequence_length, "batch_size": plan.batch_size}
    if plan.method in (QuantizationMethod.INT8, QuantizationMethod.FP8):
        found["quant_dtype"] = plan.method.value
    else:
        found |= {"w_bits": 4, "w_group_size": plan.group_size}
    if plan.method is QuantizationMethod.AWQ_SEARCH:
        found["search_scale"] = True
    found["dtype"] = plan.dtype
    if plan.method is not QuantizationMethod.GPTQ:
        found["device"] = plan.device
    if plan.trust_remote_code:
        found["trust_remote_code"] = True
    return found
