"""The program that says which engine runs a checkpoint: folders on stdin, answers on stdout, one line of JSON each.

Started as `python -m desktop.engine.support_child`. The first line it writes says that LMDeploy is loaded; then comes
an answer for each question, in order. It ends when its stdin does, at the latest two seconds later.
"""

from __future__ import annotations

import os
import threading
import traceback

import msgspec

from desktop.domain.engine_support import EngineSupport, QuantizerSupport
from desktop.domain.one_line import one_line
from desktop.engine.child import end_when_orphaned


class Question(msgspec.Struct, frozen=True):
    """folder: its path as the file system has it, which need not be text. quantizer: whether to ask about that too."""

    folder: bytes
    quantizer: bool = False


def main() -> None:
    """Answer until stdin ends."""
    # A library that prints must not write into the answers, one that asks must find nobody.
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    watch = threading.Thread(target=end_when_orphaned, args=(questions.fileno(),), name="orphan-watch", daemon=True)
    watch.start()
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    if hasattr(os, "nice"):
        os.nice(10)  # nobody waits for it
    # Local folders only, and no card: its memory belongs to the engine.
    os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", TOKENIZERS_PARALLELISM="false")
    from desktop.engine.support_check import check_support, lmdeploy_version

    version = lmdeploy_version()
    _load()
    answers.write(msgspec.json.encode(EngineSupport(lmdeploy=version)) + b"\n")
    answers.flush()
    for line in questions:
        question = msgspec.json.decode(line, type=Question)
        folder = os.fsdecode(question.folder)
        try:
            answer = EngineSupport(
                lmdeploy=version,
                verdicts=check_support(folder),
                quantizer=_quantizer(folder) if question.quantizer else None,
            )
        except Exception as problem:
            traceback.print_exc()
            answer = EngineSupport(lmdeploy=version, failure=f"LMDeploy cannot read this model: {_words(problem)}.")
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()


def _quantizer(folder: str) -> QuantizerSupport:
    from desktop.engine.quantizer_check import check_quantizer  # and LMDeploy's quantizers, which take seconds to load

    return check_quantizer(folder)


def _load() -> None:
    import lmdeploy.archs
    import lmdeploy.pytorch.config
    import lmdeploy.turbomind.supported_models  # noqa: F401


def _words(problem: Exception) -> str:
    # Some print the whole config after the reason, some put the reason into the second line.
    lines = str(problem).partition("{")[0].split("\n")[:2]
    return one_line(" ".join(line.strip() for line in lines).strip(" .:"), 200) or type(problem).__name__


if __name__ == "__main__":
    main()
