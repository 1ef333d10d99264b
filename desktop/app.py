"""The composition root: builds every object, wires signals, runs the loop; one shutdown for every way out."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import qasync
from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtWidgets import QApplication

from desktop.domain.card_choice import with_uuids
from desktop.domain.counting import counted
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Action, FailureCode, TurbodeskError, failure
from desktop.engine.base import Engine
from desktop.program_log import write_log
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.garbage_collector import GarbageCollector
from desktop.services.gpu_monitor import GpuMonitor
from desktop.services.library import Library
from desktop.services.memory_history import MemoryHistory
from desktop.services.notices import Notices
from desktop.services.searcher import Searcher
from desktop.services.store_writer import StoreWriter
from desktop.services.title_proposer import TitleProposer
from desktop.services.transfers import Transfers
from desktop.services.uncaught import Uncaught
from desktop.storage.conversations import ConversationStore
from desktop.storage.instance_lock import InstanceLock
from desktop.storage.paths import AppPaths, app_paths, demo_checkpoint
from desktop.storage.secrets import Secrets
from desktop.storage.settings import Settings, SettingsStore
from desktop.storage.trash import KEPT_SECONDS
from desktop.ui.main_window import MainWindow
from desktop.ui.memory.gauge import MemoryGauge
from desktop.ui.theme import STYLE, apply_theme

if TYPE_CHECKING:
    from desktop.domain.checkpoint import Checkpoint
    from desktop.domain.server_address import ServerModel
    from desktop.hardware.nvml import NvmlReader
    from desktop.services.models import Models

logger = logging.getLogger(__name__)
engine_logger = logging.getLogger("engine")

TAKE_UP_MILLISECONDS = 1000  # after the window is shown
SAVE_SECONDS = 5.0
STOP_SECONDS = 30.0  # more than all steps of ProcessEngine.close() together


def run(options: argparse.Namespace) -> int:
    """Open the window and run until it is closed; options: those of desktop.__main__. Returns the exit code."""
    os.environ.setdefault("QT_STYLE_OVERRIDE", STYLE)  # cheaper than to replace the system's style later
    qt = QApplication(sys.argv[:1])
    qt.setApplicationName("turbodesk")
    qt.setApplicationDisplayName("Turbodesk")
    qt.setDesktopFileName("turbodesk")
    qt.setQuitOnLastWindowClosed(False)  # the last window asks for the shutdown, which then ends the loop
    paths = app_paths(options.data_dir)
    try:
        app = App(paths)
    except TurbodeskError as problem:
        words = f"{problem.failure.message} {problem.failure.next_step}"
        print(words, file=sys.stderr)
        if qt.platformName() != "offscreen" and options.ask is None:
            from PySide6.QtWidgets import QMessageBox

            QMessageBox.critical(None, "Turbodesk", words)
        return 1
    with asyncio.Runner(loop_factory=lambda: qasync.QEventLoop(qt, already_running=False)) as runner:
        return runner.run(app.main(options))


class App(QObject):
    """Everything there is, and its end.

    make_engine: builds the engine of one load; by default LMDeploy's, in a child process or, as set, in this one.
    Raises TurbodeskError when the data folder cannot be used.
    """

    def __init__(self, paths: AppPaths, make_engine: Callable[[Callable[[str], None]], Engine] | None = None) -> None:
        super().__init__()
        self._garbage = GarbageCollector(parent=self)
        self._paths = paths
        self._lock = InstanceLock(paths.data)
        write_log(paths.log)
        self._settings_store = SettingsStore(paths.settings)
        self.settings, settings_problem = self._settings_store.load()
        self._store = ConversationStore(paths.conversations)
        self._store.recover()
        self.notices = Notices(self)
        self._writer = StoreWriter(self._open_store, self)
        checkpoint = self.settings.checkpoint or str(demo_checkpoint())
        self._secrets = Secrets()
        self.host = EngineHost(make_engine or self._make_engine, _read_checkpoint, parent=self, connect=self._connect)
        self.host.set_default(checkpoint)
        self.host.name_cards = self._name_cards
        self.library = Library(self._store, self._writer, parent=self)
        self.library.write(_empty_the_trash)
        self.chats = Chats(self.library, self.host, parent=self)
        self._titles = TitleProposer(self.chats, self.host, parent=self)
        self._searcher = Searcher(self._open_store, parent=self)
        self._transfers = Transfers(self.library, self._open_store, parent=self)
        self._monitor = GpuMonitor(_make_reader, parent=self)
        self._history = MemoryHistory(parent=self)
        self._models: Models | None = None
        self._apply_settings()  # the theme before there are widgets: dressing them later costs a second time
        gauge = self._gauge = MemoryGauge()
        self.window = MainWindow(
            self.host, self.chats, self.notices, self.models, gauge, self.settings, str(demo_checkpoint())
        )

        self._monitor.reading_changed.connect(self._history.add)
        self._monitor.reading_changed.connect(gauge.show_reading)
        gauge.details_requested.connect(self._show_memory)
        self.window.actions_registry.add("Show where the memory is", "Ctrl+M", self._show_memory)
        self._writer.save_failed.connect(self.notices.raise_notice)
        self._writer.write_lost.connect(self.notices.raise_notice)
        self._writer.saved_again.connect(self._on_saved_again)
        self.host.status_changed.connect(self._on_status_changed)
        self.host.load_refused.connect(self.notices.raise_notice)
        self.window.settings_changed.connect(self._on_settings_changed)
        self.window.notice_action_triggered.connect(self._on_notice_action)
        self.window.close_requested.connect(self._on_close_requested)
        self.window.search_requested.connect(self._searcher.search)
        self.window.export_requested.connect(self._on_export_requested)
        self.window.import_requested.connect(self._transfers.import_file)
        self._searcher.found.connect(self.window.chat_page.panel.show_hits)
        self._searcher.search_failed.connect(self.notices.raise_notice)
        self._transfers.transfer_failed.connect(self.notices.raise_notice)
        self._transfers.exported.connect(self._on_exported)
        self._transfers.imported.connect(self._on_imported)

        if settings_problem:
            self.notices.raise_notice(failure(FailureCode.SETTINGS_NOT_USED, reason=settings_problem))
        self._over: asyncio.Event | None = None
        self._asking = False
        self._jobs_go_on = True  # unless the user says otherwise: hours of work are not thrown away unasked
        self._ended = False

    async def main(self, options: argparse.Namespace) -> int:
        """Show the window and run until it is closed, or until the question is answered."""
        self._over = asyncio.Event()
        self._asking = options.ask is not None
        loop = asyncio.get_running_loop()
        Uncaught(self.notices, loop)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._leave)
        self.window.show()
        QTimer.singleShot(TAKE_UP_MILLISECONDS, self._take_up_downloads)
        loop.call_soon(self._monitor.start)
        loop.call_soon(self._garbage.start)
        code = 1
        try:
            code = await (self._ask(options) if self._asking else self._wait_for_the_end(options.checkpoint))
        except Exception as problem:
            logger.exception("the program ends with an error")
            print(f"Turbodesk ends because of an error: {problem!r}. The log says more.", file=sys.stderr)
        finally:
            if not await self.shutdown():
                os._exit(code)  # a thread that hangs cannot be ended in another way
        return code

    async def _wait_for_the_end(self, checkpoint: str | None) -> int:
        assert self._over is not None
        if checkpoint:
            self.host.load(checkpoint)
        await self._over.wait()
        return 0

    async def _ask(self, options: argparse.Namespace) -> int:
        from desktop.ask import Ask

        assert self._over is not None
        ask = Ask(self.window, self.host, self.chats)
        self.host.load(options.checkpoint or str(demo_checkpoint()))
        return await ask.run_until(self._over, options.ask, options.screenshot, options.timeout)

    async def shutdown(self) -> bool:
        """End everything, in the order in which nothing is lost: replies, engine, gauge, writer, lock.

        False when the engine's thread did not end in time; then only the end of the process ends it.
        """
        self._ended = True
        self.window.chat_page.keep_draft()
        self.chats.close()
        self._transfers.close()
        self._searcher.close()
        if self._models is not None:
            self._models.quantizer.runner.close(go_on=self._jobs_go_on)
            self._models.browser.close()
            self._models.downloads.close()
            self._models.shelf.close()
            self._models.adviser.close()
        stopped = asyncio.Event()
        self.host.stopped.connect(stopped.set)
        self.host.shutdown()
        ended = True
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await stopped.wait()
        except TimeoutError:
            logger.error("the engine's thread did not end within %s s", STOP_SECONDS)
            ended = False
        self.host.wait(1000)
        if self._models is not None:
            self._models.recorder.close()
        self._monitor.stop()
        if not self._writer.close(SAVE_SECONDS):
            print("The last changes to the conversations could not be saved.", file=sys.stderr)
        self._save_settings(msgspec.structs.replace(self.settings, geometry=self.window.geometry_text()))
        self._store.close()
        self.window.allow_close()
        self.window.close()
        self._lock.release()
        return ended

    def _open_store(self) -> ConversationStore:
        return ConversationStore(self._paths.conversations)

    def models(self) -> Models:
        """The models on the disk. Built when they are first wanted: a start would pay for them otherwise."""
        if self._models is None:
            from desktop.services.models import make_models
            from desktop.services.post_mortem import PostMortem
            from desktop.ui.job_notifier import JobNotifier

            models = self._models = make_models(self._paths, self.host, self._open_store, self._secrets, self)
            models.downloads.refused.connect(self.notices.raise_notice)
            models.browser.token_forgotten.connect(self.notices.raise_notice)
            models.recorder.recording_failed.connect(self.notices.raise_notice)
            models.quantizer.runner.saving_failed.connect(self.notices.raise_notice)
            models.servers.key_not_kept.connect(self.notices.raise_notice)
            notifier = JobNotifier(models.quantizer.runner, self.notices, self.window, parent=self)
            notifier.jobs_wanted.connect(self._on_jobs_wanted)
            models.quantizer.runner.process_changed.connect(self._monitor.set_job)
            if self._history.newest is not None:
                models.adviser.show_reading(self._history.newest)
            self._monitor.reading_changed.connect(models.adviser.show_reading)
            PostMortem(self.host, models.adviser, self._history, lambda: self.chats.generating_count, parent=self)
            models.recorder.engine_memory_changed.connect(self._gauge.show_engine)
            models.recorder.start()
            self._name_model_folders()
        return self._models

    def _name_cards(self, config: EngineConfig) -> EngineConfig:
        newest = self._history.newest
        return with_uuids(config, newest.cards if newest is not None else ())

    def _name_model_folders(self) -> None:
        if self._models is not None:
            named = (self.settings.download_folder, *self.settings.model_folders)
            self._models.shelf.set_folders((str(demo_checkpoint().parent), *filter(None, named)))

    def _make_engine(self, on_log: Callable[[str], None]) -> Engine:
        if self.settings.run_engine_in_window_process:
            from desktop.engine.lmdeploy_engine import LMDeployEngine

            return LMDeployEngine()

        from desktop.engine.process_engine import ProcessEngine

        return ProcessEngine(on_log=_logged(on_log))

    def _connect(self, model: ServerModel, on_log: Callable[[str], None]) -> Engine:
        """Called in a thread: the keyring may have to be unlocked."""
        from desktop.engine.openai_engine import KEY_VARIABLE
        from desktop.engine.process_engine import ProcessEngine

        key = self._secrets.get(model.address) or ""
        return ProcessEngine("openai", {KEY_VARIABLE: key}, _logged(on_log))

    def _apply_settings(self) -> None:
        self.host.set_config(self.settings.engine)
        self.chats.defaults = self.settings.chat
        self.chats.tools.custom = self.settings.tools
        self.chats.tools.always_allowed = frozenset(self.settings.always_allowed_tools)
        self._titles.enabled = self.settings.propose_titles
        self._name_model_folders()
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        apply_theme(application, self.settings.theme)

    def _save_settings(self, settings: Settings) -> None:
        self.settings = settings
        try:
            self._settings_store.save(settings)
        except TurbodeskError as problem:
            self.notices.raise_notice(problem.failure)

    @Slot()
    def _show_memory(self) -> None:
        from desktop.ui.memory.gauge_popover import GaugePopover

        popover = GaugePopover(self._history, self._gauge)
        self._monitor.reading_changed.connect(popover.show_reading)
        popover.open_above()

    @Slot(object)
    def _on_settings_changed(self, settings: Settings) -> None:
        self._save_settings(msgspec.structs.replace(settings, checkpoint=self.settings.checkpoint))
        self._apply_settings()

    @Slot()
    def _take_up_downloads(self) -> None:
        """Nothing before the window is there; whoever leaves at once leaves them as they are."""
        if self._ended:
            return
        named = self.settings.download_folder
        self.models().downloads.take_up({self._paths.models, Path(named or self._paths.models)})
        if not self._asking:  # jobs that wait are for whoever opens the window
            self.models().quantizer.runner.start()

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        if status.state is EngineState.LOADING:
            self.models()  # which writes down how it goes
        owner = status.info or status.progress
        self._monitor.set_engine_pid(owner.pid if owner else None)
        if status.state is EngineState.READY:
            self._on_model_ready(status)

    def _on_model_ready(self, status: EngineStatus) -> None:
        self.notices.dismiss(FailureCode.NO_CHAT_TEMPLATE)
        if status.checkpoint is not None and not status.checkpoint.has_chat_template:
            self.notices.raise_notice(failure(FailureCode.NO_CHAT_TEMPLATE, model=status.checkpoint.name))
        # The demo model is "", so that moving the program does not lose it.
        path = "" if status.path == str(demo_checkpoint()) else status.path
        if path != self.settings.checkpoint and not self._asking:
            self._save_settings(msgspec.structs.replace(self.settings, checkpoint=path))

    @Slot(str, int)
    def _on_export_requested(self, path: str, conversation_id: int) -> None:
        self._transfers.export(path, {conversation_id} if conversation_id else None)

    @Slot(str)
    def _on_exported(self, path: str) -> None:
        self.window.chat_page.panel.say(f"Exported to {Path(path).name}")

    @Slot(int, int)
    def _on_imported(self, conversations: int, messages: int) -> None:
        self.window.chat_page.panel.say(
            f"Imported {counted(conversations, 'conversation')}, {counted(messages, 'message')}"
        )

    @Slot()
    def _on_saved_again(self) -> None:
        for code in (FailureCode.DISK_FULL, FailureCode.STORAGE_NOT_WRITABLE, FailureCode.DATABASE_BUSY):
            self.notices.dismiss(code)

    @Slot(object)
    def _on_notice_action(self, action: Action) -> None:
        if action is Action.RETRY_SAVE:
            self._writer.retry()

    @Slot()
    def _on_close_requested(self) -> None:
        if self._writer.is_troubled:
            from desktop.ui.unsaved_question import UnsavedQuestion

            question = UnsavedQuestion(self.window)
            question.leave_chosen.connect(self._leave)
            question.retry_chosen.connect(self._writer.retry)
            question.open()
        elif self._models is not None and self._models.quantizer.runner.is_running:
            from desktop.ui.quantize.running_question import RunningQuestion

            running = RunningQuestion(self.window)
            running.leave_chosen.connect(self._on_leave_chosen)
            running.open()
        else:
            self._leave()

    @Slot(bool)
    def _on_leave_chosen(self, go_on: bool) -> None:
        self._jobs_go_on = go_on
        self._leave()

    @Slot()
    def _on_jobs_wanted(self) -> None:
        self.window.show_page("Quantize")
        self.window.raise_()
        self.window.activateWindow()

    @Slot()
    def _leave(self) -> None:
        self.window.hide()  # ending the engine may take seconds in which nothing can be done here
        if self._over is not None:
            self._over.set()


def _logged(on_log: Callable[[str], None]) -> Callable[[str], None]:
    def log(line: str) -> None:
        engine_logger.info(line)
        on_log(line)

    return log


def _read_checkpoint(path: str) -> Checkpoint:
    from desktop.storage.checkpoint_reader import read_checkpoint  # the first load pays for it, not the start

    return read_checkpoint(path)


def _make_reader() -> NvmlReader:
    from desktop.hardware.nvml import NvmlReader  # in the monitor's thread, while the window is already there

    return NvmlReader()


def _empty_the_trash(store: ConversationStore) -> None:
    store.purge(time.time() - KEPT_SECONDS)
