"""Where the model's tool calls wait for consent, are run, and get their results."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.conversation import ChatSettings, Message
from desktop.domain.generation import ToolCall, ToolSpec

MOST_ROUNDS = 16  # of calls without a word from the user; then every call asks again
DECLINED = "The user declined this call."


class ToolState(StrEnum):
    """What a call without a result waits for."""

    CONSENT = "consent"  # may it be run?
    ANSWER = "answer"  # a tool the user declared: the user is the one who knows the result
    RUNNING = "running"
    PASSED = "passed"  # nothing any more: the conversation went on without a result


class ToolDesk(QObject):
    """Asks before a tool runs for the first time in a conversation, unless it is allowed always.

    custom: the tools the user declared. always_allowed: names of built-in tools that never ask.

    Signals:
        answered: the assistant's Message, the call's id, the result, and whether it is an error.
        state_changed: the id of a message whose calls wait for something else now.
    """

    answered = Signal(object, str, str, bool)
    state_changed = Signal(int)
    _ran = Signal(object, str, str, bool)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.custom: tuple[ToolSpec, ...] = ()
        self.always_allowed: frozenset[str] = frozenset()
        self._allowed: set[tuple[int, str]] = set()  # conversation id, name
        self._running: set[tuple[int, str]] = set()  # message id, call id
        self._ran.connect(self._on_ran)

    def available(self) -> tuple[ToolSpec, ...]:
        """All tools there are: the built-in ones, then the user's."""
        from desktop.tools import BUILTIN

        return (*(tool.spec for tool in BUILTIN.values()), *self.custom)

    def specs(self, names: tuple[str, ...]) -> tuple[ToolSpec, ...]:
        """The tools of these names; unknown names are left out."""
        return tuple(spec for spec in self.available() if spec.name in names) if names else ()

    def begin(self, message: Message, settings: ChatSettings, rounds: int = 0) -> None:
        """Run those calls of a reply that need nobody's consent. rounds: of calls since the user's last message.

        A model may call what it was not offered; it is told so.
        """
        offered = {spec.name for spec in self.specs(settings.tools)}
        allowed: list[ToolCall] = []
        for call in message.tool_calls:
            if call.name not in offered:
                self._refuse(message, call)
            elif rounds < MOST_ROUNDS and self._may_run(message, call):
                allowed.append(call)
        if allowed:
            self._run(message, allowed, settings)
        self.state_changed.emit(message.id)

    def state(self, message: Message, call: ToolCall) -> ToolState:
        """What a call without a result waits for."""
        if (message.id, call.id) in self._running:
            return ToolState.RUNNING
        return ToolState.ANSWER if self._is_custom(call.name) else ToolState.CONSENT

    def allow(self, message: Message, call: ToolCall, settings: ChatSettings) -> None:
        """Run a call that waits for consent; the tool then asks no more in this conversation."""
        if call.name not in settings.tools:
            self._refuse(message, call)
        elif not self._is_custom(call.name) and (message.id, call.id) not in self._running:
            self._allowed.add((message.conversation_id, call.name))
            self._run(message, [call], settings)
            self.state_changed.emit(message.id)

    def decline(self, message: Message, call: ToolCall) -> None:
        """Answer a call with the word that the user does not want it."""
        self.answered.emit(message, call.id, DECLINED, True)

    def _refuse(self, message: Message, call: ToolCall) -> None:
        self.answered.emit(message, call.id, f"The tool {call.name} is not available in this conversation.", True)

    def _is_custom(self, name: str) -> bool:
        return any(spec.name == name for spec in self.custom)

    def _may_run(self, message: Message, call: ToolCall) -> bool:
        asked = (message.conversation_id, call.name) in self._allowed or call.name in self.always_allowed
        return asked and not self._is_custom(call.name)

    def _run(self, message: Message, calls: Sequence[ToolCall], settings: ChatSettings) -> None:
        self._running.update((message.id, call.id) for call in calls)
        # A thread that nobody waits for: a file on a dead network mount must not hold the window.
        threading.Thread(target=self._work, args=(message, calls, settings), name="tool", daemon=True).start()

    def _work(self, message: Message, calls: Sequence[ToolCall], settings: ChatSettings) -> None:
        from desktop.tools import BUILTIN, ToolContext

        files = {Path(file).name: Path(file) for file in settings.files}
        for call in calls:  # one after the other: their results come in their order
            result = BUILTIN[call.name].run(call.arguments, ToolContext(allowed_files=files))
            try:
                self._ran.emit(message, call.id, result.content, result.failed)
            except RuntimeError:  # the window has gone
                return

    @Slot(object, str, str, bool)
    def _on_ran(self, message: Message, call_id: str, result: str, failed: bool) -> None:
        self._running.discard((message.id, call_id))
        self.answered.emit(message, call_id, result, failed)
