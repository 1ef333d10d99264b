"""The settings as the window has them: what its page, the panel beside a chat and the tools' cards change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from desktop.domain.conversation import ChatSettings
from desktop.domain.engine_config import EngineConfig, with_setting
from desktop.domain.generation import ToolSpec
from desktop.services.tool_desk import ToolDesk
from desktop.storage.settings import Settings

if TYPE_CHECKING:
    from desktop.ui.chat.chat_settings_panel import ChatSettingsPanel
    from desktop.ui.settings_page import SettingsPage


class Preferences(QObject):
    """One value with several editors; each gets to know what the others changed.

    Signals:
        settings_changed: the new Settings, to be saved and brought into force.
        engine_changed: the EngineConfig of the next load.
    """

    settings_changed = Signal(object)
    engine_changed = Signal(object)

    def __init__(self, settings: Settings, tools: ToolDesk, window: QWidget) -> None:
        """window: the parent of dialogs."""
        super().__init__(window)
        self.settings = settings
        self._tools = tools
        self._window = window
        self._page: SettingsPage | None = None
        self._panel: ChatSettingsPanel | None = None

    def serve_page(self, page: SettingsPage) -> None:
        """Take what this page changes."""
        self._page = page
        page.settings_changed.connect(self._on_page_changed)
        page.tool_requested.connect(self._on_tool_requested)
        page.tool_removed.connect(self._on_tool_removed)
        page.ask_again_requested.connect(self._on_ask_again_requested)
        self._show_tools()

    @Slot(object)
    def serve_panel(self, panel: ChatSettingsPanel) -> None:
        """Take what this panel changes."""
        self._panel = panel
        panel.show_presets(self.settings.presets)
        panel.presets_changed.connect(self._on_presets_changed)
        panel.tool_requested.connect(self._on_tool_requested)
        panel.tool_removed.connect(self._on_tool_removed)
        self._show_tools()

    @Slot(str)
    def allow_always(self, name: str) -> None:
        """Never ask for this tool again."""
        names = dict.fromkeys((*self.settings.always_allowed_tools, name))
        self._change(always_allowed_tools=tuple(names))

    @Slot(object)
    def set_model_folders(self, folders: tuple[str, ...]) -> None:
        """Search these folders for models."""
        self._change(model_folders=folders)

    @Slot(str)
    def set_download_folder(self, folder: str) -> None:
        """Put models from a hub below this folder."""
        self._change(download_folder=folder)

    @Slot(str, str)
    def set_hub(self, hub: str, mirror: str) -> None:
        """Look for models here, see Settings."""
        self._change(hub=hub, hub_mirror=mirror)

    @Slot(object)
    def set_engine(self, engine: EngineConfig) -> None:
        """Load with these settings from now on."""
        if self._page is not None:
            self._page.flush()  # what is being edited there was asked for before
        self._change(engine=engine)
        if self._page is not None:
            self._page.show_engine(engine)

    @Slot(object)
    def change_engine(self, setting: dict[str, object]) -> None:
        """The same with what a Failure.setting changes."""
        self.set_engine(with_setting(self.settings.engine, setting))

    def _change(self, **changes: Any) -> None:
        before, self.settings = self.settings, msgspec.structs.replace(self.settings, **changes)
        self.settings_changed.emit(self.settings)
        if self.settings.engine != before.engine:
            self.engine_changed.emit(self.settings.engine)
        self._show_tools()

    def _show_tools(self) -> None:
        specs, custom = self._tools.available(), frozenset(spec.name for spec in self.settings.tools)
        if self._page is not None:
            self._page.show_tools(specs, custom, self.settings.always_allowed_tools)
        if self._panel is not None:
            self._panel.form.show_tools(specs, custom)

    @Slot(object)
    def _on_page_changed(self, settings: Settings) -> None:
        mine = self.settings  # of these the page knows nothing
        self._change(
            **msgspec.structs.asdict(
                msgspec.structs.replace(
                    settings,
                    presets=mine.presets,
                    tools=mine.tools,
                    always_allowed_tools=mine.always_allowed_tools,
                    model_folders=mine.model_folders,
                    download_folder=mine.download_folder,
                    hub=mine.hub,
                    hub_mirror=mine.hub_mirror,
                )
            )
        )

    @Slot(object)
    def _on_presets_changed(self, presets: dict[str, ChatSettings]) -> None:
        self._change(presets=presets)

    @Slot()
    def _on_tool_requested(self) -> None:
        from desktop.tools import BUILTIN
        from desktop.ui.chat.tool_dialog import ToolDialog

        dialog = ToolDialog(frozenset(BUILTIN), self._window)
        dialog.declared.connect(self._on_tool_declared)
        dialog.open()

    @Slot(object)
    def _on_tool_declared(self, spec: ToolSpec) -> None:
        self._change(tools=(*(known for known in self.settings.tools if known.name != spec.name), spec))

    @Slot(str)
    def _on_tool_removed(self, name: str) -> None:
        self._change(tools=tuple(spec for spec in self.settings.tools if spec.name != name))

    @Slot()
    def _on_ask_again_requested(self) -> None:
        self._change(always_allowed_tools=())
