"""Exit codes and last words become sentences."""

import pytest

from desktop.domain.errors import FailureCode
from desktop.engine.crash_report import describe_crash


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("[TM][FATAL] core/logger.cc(286): CUDA error: out of memory", FailureCode.VIDEO_MEMORY_EXHAUSTED),
        ("RuntimeError: [TM][ERROR] CUDA runtime error: out of memory /x.cc:12", FailureCode.VIDEO_MEMORY_EXHAUSTED),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", FailureCode.VIDEO_MEMORY_EXHAUSTED),
        ("terminate called after throwing an instance of 'std::bad_alloc'", FailureCode.HOST_MEMORY_EXHAUSTED),
        ("something else", FailureCode.ENGINE_DIED),
    ],
)
def test_the_last_words_name_the_cause(line: str, code: FailureCode) -> None:
    told = describe_crash(-6, ["before", line, "after"], loading=True)
    assert told.code is code
    assert "while the model was loading" in told.message
    assert line in told.detail


@pytest.mark.parametrize(
    ("exit_code", "word"), [(-9, "SIGKILL"), (-11, "SIGSEGV"), (7, "exit code 7"), (-200, "signal 200")]
)
def test_the_exit_code_is_named(exit_code: int, word: str) -> None:
    assert word in describe_crash(exit_code, [], loading=False).message
