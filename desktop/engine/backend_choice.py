"""Which backend runs a checkpoint on this machine, and why, in words for the screen. Runs in the engine's process."""

from __future__ import annotations

from dataclasses import dataclass

from desktop.domain.engine_config import Backend
from desktop.domain.errors import FailureCode, error


@dataclass(frozen=True)
class Machine:
    """What the engine's process found. card: the first usable card's name, or "". no_card: why there is none.

    turbomind: whether LMDeploy's native module loads; no_turbomind: why not.
    """

    card: str
    no_card: str
    turbomind: bool
    no_turbomind: str


@dataclass(frozen=True)
class BackendChoice:
    """The decision. reason: as shown to the user. device: a card's name or "CPU"."""

    backend: Backend
    device: str
    reason: str


def inspect_machine(device: int = 0) -> Machine:
    """Ask CUDA and LMDeploy; imports torch."""
    import torch
    from lmdeploy import turbomind

    turbomind_error = "" if turbomind.is_available() else str(turbomind._import_error)
    if torch.cuda.is_available():
        return Machine(torch.cuda.get_device_name(device), "", not turbomind_error, turbomind_error)
    return Machine("", _why_no_card(), not turbomind_error, turbomind_error)


def _why_no_card() -> str:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return "no NVIDIA driver found"
    try:
        if pynvml.nvmlDeviceGetCount() == 0:
            return "no NVIDIA card found"
        return f"the NVIDIA driver {pynvml.nvmlSystemGetDriverVersion()} does not work with this CUDA version"
    finally:
        pynvml.nvmlShutdown()


def choose_backend(requested: Backend, machine: Machine, architecture: str, turbomind_runs_it: bool) -> BackendChoice:
    """Pick what was asked for, or the fastest that can.

    Raises TurbodeskError (backend_unavailable, architecture_unsupported) when what was asked for cannot work here.
    """
    if requested is Backend.CPU:
        return BackendChoice(Backend.CPU, "CPU", "CPU: chosen in the settings")
    if not machine.card:
        if requested is not Backend.AUTO:
            raise error(FailureCode.BACKEND_UNAVAILABLE, backend=_NAMES[requested], reason=machine.no_card)
        return BackendChoice(Backend.CPU, "CPU", f"CPU: {machine.no_card}")
    if requested is Backend.TURBOMIND:
        if not machine.turbomind:
            reason = "its native module does not load"
            raise error(
                FailureCode.BACKEND_UNAVAILABLE, backend="TurboMind", reason=reason, detail=machine.no_turbomind
            )
        if not turbomind_runs_it:
            raise error(
                FailureCode.ARCHITECTURE_UNSUPPORTED, architecture=architecture, reason="TurboMind does not know it"
            )
    if requested is Backend.PYTORCH:
        return BackendChoice(Backend.PYTORCH, machine.card, f"PyTorch engine on {machine.card}: chosen in the settings")
    if machine.turbomind and turbomind_runs_it:
        return BackendChoice(Backend.TURBOMIND, machine.card, f"TurboMind on {machine.card}")
    why = f"TurboMind does not know {architecture}" if machine.turbomind else "TurboMind does not load here"
    return BackendChoice(Backend.PYTORCH, machine.card, f"PyTorch engine on {machine.card}: {why}")


_NAMES = {Backend.TURBOMIND: "TurboMind", Backend.PYTORCH: "PyTorch engine", Backend.CPU: "CPU", Backend.AUTO: "auto"}
