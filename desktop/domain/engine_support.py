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


class EngineSupport(msgspec.Struct, frozen=True, kw_only=True):
    """What the installed LMDeploy says of one checkpoint.

    verdicts: of TurboMind, the PyTorch engine, the CPU, in this order. failure: a sentence where it could not be asked;
    then there are no verdicts.
    """

    lmdeploy: str
    verdicts: tuple[EngineVerdict, ...] = ()
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
