"""The choice of backend and its reason."""

import pytest

from desktop.domain.engine_config import Backend
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.engine.backend_choice import Machine, choose_backend

CARD = Machine("RTX 4090", "", True, "")
NO_TURBOMIND = Machine("RTX 4090", "", False, "libcudart.so.12: cannot open shared object file")
NO_CARD = Machine("", "no NVIDIA driver found", False, "libcuda.so.1")


@pytest.mark.parametrize(
    ("requested", "machine", "known", "backend", "reason"),
    [
        (Backend.AUTO, CARD, True, Backend.TURBOMIND, "TurboMind on RTX 4090"),
        (Backend.AUTO, CARD, False, Backend.PYTORCH, "PyTorch engine on RTX 4090: TurboMind does not know XModel"),
        (Backend.AUTO, NO_TURBOMIND, True, Backend.PYTORCH, "PyTorch engine on RTX 4090: TurboMind does not load here"),
        (Backend.AUTO, NO_CARD, True, Backend.CPU, "CPU: no NVIDIA driver found"),
        (Backend.CPU, CARD, True, Backend.CPU, "CPU: chosen in the settings"),
        (Backend.PYTORCH, CARD, True, Backend.PYTORCH, "PyTorch engine on RTX 4090: chosen in the settings"),
        (Backend.TURBOMIND, CARD, True, Backend.TURBOMIND, "TurboMind on RTX 4090"),
    ],
)
def test_choice(requested: Backend, machine: Machine, known: bool, backend: Backend, reason: str) -> None:
    choice = choose_backend(requested, machine, "XModel", known)
    assert (choice.backend, choice.reason) == (backend, reason)


@pytest.mark.parametrize(
    ("requested", "machine", "known", "code", "word"),
    [
        (Backend.TURBOMIND, NO_CARD, True, FailureCode.BACKEND_UNAVAILABLE, "no NVIDIA driver found"),
        (Backend.PYTORCH, NO_CARD, True, FailureCode.BACKEND_UNAVAILABLE, "no NVIDIA driver found"),
        (Backend.TURBOMIND, NO_TURBOMIND, True, FailureCode.BACKEND_UNAVAILABLE, "native module"),
        (Backend.TURBOMIND, CARD, False, FailureCode.ARCHITECTURE_UNSUPPORTED, "XModel"),
    ],
)
def test_refusal(requested: Backend, machine: Machine, known: bool, code: FailureCode, word: str) -> None:
    with pytest.raises(TurbodeskError) as caught:
        choose_backend(requested, machine, "XModel", known)
    assert caught.value.failure.code is code
    assert word in caught.value.failure.message
