"""Has LMDeploy judge the models on disk, each once for the state of its folder, in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.engine_support import EngineSupport
from desktop.domain.errors import TurbodeskError
from desktop.domain.shelf import ShelfEntry
from desktop.engine.support_asker import SupportAsker
from desktop.engine.support_check import lmdeploy_version
from desktop.storage.signature_cache import SignatureCache

_FORMAT = "1"  # of the answers and of our own rules
_SAVED_AFTER = 20  # new answers

_Questions = dict[str, str]  # path -> signature


class SupportDesk(QObject):
    """Answers that LMDeploy gave once are kept in a file until the folder or LMDeploy changes.

    Signals:
        answered: a list of paths.
        asking_failed: the Failure; asked again with the next ask() that has something new.
    """

    answered = Signal(object)
    asking_failed = Signal(object)

    _answered = Signal(object)

    def __init__(self, cache: Path, asker: SupportAsker | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cache = cache
        self._asker = asker
        self._answers: dict[str, tuple[str, EngineSupport]] = {}
        self._asked: _Questions = {}
        self._queue: queue.SimpleQueue[_Questions | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._answered.connect(self._on_answered)

    def answer(self, entry: ShelfEntry) -> EngineSupport | None:
        """What is known of this state of the folder."""
        signature, support = self._answers.get(entry.path, ("", None))
        return support if signature == entry.signature else None

    def ask(self, entries: Iterable[ShelfEntry]) -> None:
        """Have these judged, and none but these; what is known is not asked again."""
        questions = {entry.path: entry.signature for entry in entries}
        if questions == self._asked or self._stopping.is_set():
            return
        self._asked = questions
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="engine-support", daemon=True)
            self._thread.start()
        self._queue.put(questions)

    def close(self) -> None:
        """End the thread and the child."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout=2)

    @Slot(object)
    def _on_answered(self, answers: dict[str, tuple[str, EngineSupport]]) -> None:
        new = [path for path, answer in answers.items() if self._answers.get(path) != answer]
        self._answers.update(answers)
        if new:
            self.answered.emit(new)

    def _work(self) -> None:
        version = lmdeploy_version()
        asker = self._asker or SupportAsker(version)
        cache = SignatureCache(self._cache / "engine-support.msgpack", EngineSupport, f"{_FORMAT} {version}")
        try:
            while (questions := self._queue.get()) is not None:
                try:
                    self._judge(questions, asker, cache)
                except TurbodeskError as problem:
                    self.asking_failed.emit(problem.failure)
        except RuntimeError:  # the window has gone
            return

    def _judge(self, questions: _Questions, asker: SupportAsker, cache: SignatureCache[EngineSupport]) -> None:
        known = {path: (sign, cache.get(path, sign)) for path, sign in questions.items()}
        answers = {path: (sign, support) for path, (sign, support) in known.items() if support is not None}
        unknown = [path for path in questions if path not in answers]
        if answers:
            self._answered.emit(answers)
        fresh = 0
        for path, support in asker.ask(unknown, self._is_overtaken):
            cache.put(path, questions[path], support)
            self._answered.emit({path: (questions[path], support)})
            fresh += 1
            if fresh % _SAVED_AFTER == 0:
                cache.save()
        if fresh:
            cache.save()

    def _is_overtaken(self) -> bool:
        return self._stopping.is_set() or not self._queue.empty()
