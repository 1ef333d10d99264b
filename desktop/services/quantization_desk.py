"""What a quantization needs to know before it begins: the model, its methods, its text, and what is free."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.calibration import CalibrationMessage, CalibrationSource, Conversations, built_in_set
from desktop.domain.card_choice import card_of
from desktop.domain.conversation import branch
from desktop.domain.engine_config import EngineConfig
from desktop.domain.engine_support import QuantizerSupport
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure
from desktop.domain.evaluation import PROMPTS, Evaluation
from desktop.domain.memory_reading import CardReading
from desktop.domain.quantization import QuantizationPlan
from desktop.domain.quantization_preflight import Room
from desktop.domain.quantization_source import QuantizationSource
from desktop.engine.support_asker import SupportAsker
from desktop.engine.support_check import lmdeploy_version
from desktop.jobs.job_process import JobProcess
from desktop.jobs.job_record import EvaluationPair, JobRecord
from desktop.jobs.made_model import keep_with_model
from desktop.jobs.messages import (
    CalibrationCounted,
    CountCalibrationJob,
    EvaluationText,
    MeasureJob,
    QuantizeJob,
    TryJob,
)
from desktop.jobs.source import free_room, read_source
from desktop.services.job_runner import JobRunner
from desktop.services.memory_adviser import MemoryAdviser
from desktop.storage.conversations import ConversationStore

_MOST_CONVERSATIONS = 500
_ROLES = ("system", "user", "assistant")


class Inspection(NamedTuple):
    """A model as a quantization sees it, and what LMDeploy's quantizers say of it."""

    source: QuantizationSource
    quantizer: QuantizerSupport


class QuantizationDesk(QObject):
    """Signals:
    inspected: a model's path and its Inspection. inspect_failed: a path and the Failure.
    counted: the CalibrationStatistics that were asked for last. count_failed: the Failure.
    tried: a Tried. try_failed: the Failure.
    conversations_read: a Conversations. conversations_failed: the Failure.
    """

    inspected = Signal(str, object)
    inspect_failed = Signal(str, object)
    counted = Signal(object)
    count_failed = Signal(object)
    tried = Signal(object)
    try_failed = Signal(object)
    conversations_read = Signal(object)
    conversations_failed = Signal(object)

    _counted = Signal(int, object)

    def __init__(
        self,
        runner: JobRunner,
        adviser: MemoryAdviser,
        open_store: Callable[[], ConversationStore],
        asker: SupportAsker | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.runner = runner
        self.adviser = adviser
        self._open_store = open_store
        self._asker = asker
        self._counting = 0
        self._counted.connect(self._on_counted)
        runner.job_ended.connect(self._on_job_ended)

    def inspect(self, path: str) -> None:
        """Answered by inspected or inspect_failed."""
        threading.Thread(target=self._inspect, args=(path,), name="quantizer-check", daemon=True).start()

    def count(self, path: str, sources: tuple[CalibrationSource, ...], plan: QuantizationPlan) -> None:
        """Count the tokens of this text with the tokenizer of the model; answered for the last one that is asked."""
        self._counting += 1
        job = CountCalibrationJob(
            checkpoint=path,
            calibration=sources,
            samples=plan.samples,
            sequence_length=plan.sequence_length,
            seed=plan.seed,
            trust_remote_code=plan.trust_remote_code,
        )
        threading.Thread(target=self._count, args=(self._counting, job), name="count-text", daemon=True).start()

    def try_layer(self, job: QuantizeJob) -> None:
        """Quantize one layer and throw it away, to know what the whole would take; answered by tried or try_failed."""
        trial = TryJob(plan=job.plan, calibration=job.calibration)
        threading.Thread(target=self._try, args=(trial,), name="try-layer", daemon=True).start()

    def read_conversations(self) -> None:
        """The conversations of the chat page as calibration text, as they are shown."""
        threading.Thread(target=self._read_conversations, name="calibration-chats", daemon=True).start()

    def room(self, folder: str, plan: QuantizationPlan, *, unload_chat: bool) -> Room | None:
        """What is free now; None while the memory is not known. unload_chat: what the engine holds will be free."""
        reading = self.adviser.reading
        if reading is None:
            return None
        host = reading.host.available + (reading.host.engine_bytes if unload_chat else 0)
        card = next((one for one in reading.cards if one.index == plan.card), None)
        held = (card.engine_bytes or 0) if card is not None and unload_chat else 0
        free = None if card is None else card.total_bytes - card.used_bytes + held
        return Room(disk=free_room(Path(folder), None).disk, host=host, card=free)

    @property
    def has_card(self) -> bool:
        """Whether a card was seen."""
        return bool(self._cards)

    @property
    def has_cards(self) -> bool:
        """Whether there is more than one card to choose from."""
        return len(self._cards) > 1

    def card(self, config: EngineConfig) -> CardReading | None:
        """The card that a job runs on: as it is set for models."""
        return card_of(self._cards, config)

    @property
    def _cards(self) -> tuple[CardReading, ...]:
        return self.adviser.reading.cards if self.adviser.reading is not None else ()

    def start(self, job: QuantizeJob, title: str, *, unload_chat: bool, compare_with: EngineConfig | None) -> int:
        """Put it in the queue; returns its id. compare_with: compare the result with the original afterwards."""
        return self.runner.add(job, title, unload_chat=unload_chat, compare_with=compare_with)

    def compare(self, record: JobRecord, config: EngineConfig) -> int:
        """Compare what a quantization made with what it was made from; returns the id of the job."""
        assert isinstance(record.work, QuantizeJob)
        job, made = record.work, record.quantized
        assert made is not None
        # What LMDeploy fetched has no held-out part: the text that comes with Turbodesk is none of it.
        calibrated = job.plan.facts.calibrates and built_in_set(job.calibration) is None
        sources = job.calibration if calibrated else ()
        text = EvaluationText(sources=sources, name=text_name(sources)) if sources else EvaluationText()
        usual = msgspec.structs.replace(config, trust_remote_code=job.plan.trust_remote_code)
        original = (job.plan.source, job.source_name or Path(job.plan.source).name, usual)
        return self.compare_two(
            original, (made.path, Path(made.path).name, usual), text, unload_chat=record.unload_chat
        )

    def compare_two(
        self,
        original: tuple[str, str, EngineConfig],
        other: tuple[str, str, EngineConfig],
        text: EvaluationText,
        *,
        unload_chat: bool,
    ) -> int:
        """Compare two models, each a path, a name and the settings of its load; returns the id of the job."""
        sides = [
            MeasureJob(
                checkpoint=path,
                name=name,
                config=self.adviser.named(msgspec.structs.replace(config, model_format=None, max_batch_size=1)),
                text=text,
                work="",
                prompts=PROMPTS,
            )
            for path, name, config in (original, other)
        ]
        title = f"Compare {other[1]} with {original[1]}"
        return self.runner.add(EvaluationPair(original=sides[0], other=sides[1]), title, unload_chat=unload_chat)

    @Slot(object)
    def _on_job_ended(self, record: JobRecord) -> None:
        if record.compare_with is not None and record.quantized is not None:
            self.compare(record, record.compare_with)
        if record.evaluation is not None:
            threading.Thread(target=self._keep, args=(record.evaluation,), name="keep-verdict", daemon=True).start()

    @Slot(int, object)
    def _on_counted(self, number: int, answer: object) -> None:
        if number == self._counting:
            if isinstance(answer, Failure):
                self.count_failed.emit(answer)
            else:
                self.counted.emit(answer)

    def _keep(self, evaluation: Evaluation) -> None:
        try:
            keep_with_model(evaluation)
        except TurbodeskError as problem:
            with contextlib.suppress(RuntimeError):  # the window has gone
                self.runner.saving_failed.emit(problem.failure)

    def _inspect(self, path: str) -> None:
        try:
            try:
                source = read_source(path)
                asker = self._asker or SupportAsker(lmdeploy_version())
                _, support = next(iter(asker.ask([path], quantizer=True)))
                quantizer = support.quantizer or QuantizerSupport(known=False, reason=support.failure)
                self.inspected.emit(path, Inspection(source, quantizer))
            except TurbodeskError as problem:
                self.inspect_failed.emit(path, problem.failure)
            except Exception as problem:
                self.inspect_failed.emit(path, _internal(problem))
        except RuntimeError:  # the window has gone
            return

    def _count(self, number: int, job: CountCalibrationJob) -> None:
        answer: object
        try:
            self.runner.check(job)
            found = asyncio.run(JobProcess(job, lambda event: None).run())
            assert isinstance(found, CalibrationCounted)
            answer = found.statistics
        except TurbodeskError as problem:
            answer = problem.failure
        except Exception as problem:
            answer = _internal(problem)
        try:
            self._counted.emit(number, answer)
        except RuntimeError:  # the window has gone
            return

    def _try(self, job: TryJob) -> None:
        try:
            try:
                self.runner.check(job)
                self.tried.emit(asyncio.run(JobProcess(job, lambda event: None).run()))
            except TurbodeskError as problem:
                self.try_failed.emit(problem.failure)
            except Exception as problem:
                self.try_failed.emit(_internal(problem))
        except RuntimeError:  # the window has gone
            return

    def _read_conversations(self) -> None:
        try:
            try:
                store = self._open_store()
                try:
                    found = _conversations(store)
                finally:
                    store.close()
                self.conversations_read.emit(found)
            except TurbodeskError as problem:
                self.conversations_failed.emit(problem.failure)
            except Exception as problem:
                self.conversations_failed.emit(_internal(problem))
        except RuntimeError:  # the window has gone
            return


def _conversations(store: ConversationStore) -> Conversations:
    found = []
    for conversation in store.conversations()[:_MOST_CONVERSATIONS]:
        shown = branch(store.messages(conversation.id), conversation.leaf_id)
        messages = tuple(
            CalibrationMessage(message.role, message.content)
            for message in shown
            if message.role in _ROLES and message.content
        )
        if len(messages) > 1:
            found.append(messages)
    return Conversations(tuple(found))


def text_name(sources: tuple[CalibrationSource, ...]) -> str:
    """What a text is called on screen."""
    if any(isinstance(source, Conversations) for source in sources):
        return "my conversations"
    names = [Path(path).name for source in sources if (path := getattr(source, "path", ""))]
    return ", ".join(names) or EvaluationText().name


def _internal(problem: Exception) -> Failure:
    return failure(FailureCode.INTERNAL, reason=problem, detail=traceback.format_exc())
