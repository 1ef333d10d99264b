"""Which engine runs a checkpoint, and why, in words."""

from __future__ import annotations

import msgspec

from desktop.domain.engine_config import Backend


class EngineVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one backend runs the checkpoint, on a machine that has what the backend needs.

    reason: a sentence: why not, or what it does with it. notes: sentences about settings that will not work.
    """

    backend: Backend
    runs: bool
    reason: str
    notes: tuple[str, ...] = ()


class QuantizerSupport(msgspec.Struct, frozen=True, kw_only=True):
    """What LMDeploy's quantizers (lmdeploy.lite) know of one checkpoint's architecture.

    known: they know its layers. smooths: they know how to move scales between its layers, as AWQ and SmoothQuant need.
    reason: a sentence, where either is not so. skipped: parts of the names of modules that they leave in 16 bits.
    pictures: it reads more than text. gptq: GPTQ's library is installed.
    """

    known: bool
    smooths: bool = False
    reason: str = ""
    skipped: tuple[str, ...] = ()
    pictures: bool = False
    gptq: bool = False


class EngineSupport(msgspec.Struct, frozen=True, kw_only=True):
    """What the installed LMDeploy says of one checkpoint.

    verdicts: of TurboMind, the PyTorch engine, the CPU, in this order. quantizer: where that was asked too. failure: a
    sentence where it could not be asked; then there are no verdicts.
    """

    lmdeploy: str
    verdicts: tuple[EngineVerdict, ...] = ()
    quantizer: QuantizerSupport | None = None
    failure: str = ""

    def of(self, backend: Backend) -> EngineVerdict | None:
        """The verdict of one backend."""
        return next((verdict for verdict in self.verdicts if verdict.backend is backend), None)

    def chosen(self, has_card: bool) -> EngineVerdict | None:
        """The verdict of the backend that would run it on a machine with or without a card; None: nothing runs it.

        As LMDeploy chooses: TurboMind if it can, else the PyTorch engine; without a card the CPU.
        """
        able = [verdict for verdict in self.verdicts if verdict.runs]
        wanted = (Backend.TURBOMIND, Backend.PYTORCH) if has_card else (Backend.CPU,)
        return next((verdict for verdict in able if verdict.backend in wanted), None)
