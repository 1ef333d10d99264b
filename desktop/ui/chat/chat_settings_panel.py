"""The panel beside a conversation: its own settings, and the presets they can be taken from."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QToolButton, QVBoxLayout, QWidget

from desktop.domain.conversation import ChatSettings
from desktop.ui.chat import presets
from desktop.ui.chat.chat_settings_form import ChatSettingsForm
from desktop.ui.controls import ChoiceBox
from desktop.ui.icons import Tint, icon
from desktop.ui.theme import SPACE, TYPE, font_of

WIDTH = 300
_DEFAULTS = "As on the settings page"
_CHANGED = "Own settings"


class ChatSettingsPanel(QFrame):
    """Edits the settings of one conversation.

    Signals:
        settings_changed: the ChatSettings of this conversation; None: as on the settings page.
        presets_changed: all presets of the user, by name.
        tool_requested, tool_removed: as of ChatSettingsForm.
        closed: the panel is to go.
    """

    settings_changed = Signal(object)
    presets_changed = Signal(object)
    tool_requested = Signal()
    tool_removed = Signal(str)
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._presets: dict[str, ChatSettings] = {}
        self._defaults = ChatSettings()
        self._settings: ChatSettings | None = None
        self._own: ChatSettings | None = None  # what was set by hand, to go back to from a preset
        self.setObjectName("ChatSettingsPanel")
        self.setFixedWidth(WIDTH)
        self.setAccessibleName("Settings of this conversation")
        heading = QLabel("This conversation", self)
        heading.setFont(font_of(heading, TYPE.title, bold=True))
        close = QToolButton(self)
        close.setIcon(icon("close", Tint.PlaceholderText))
        close.setIconSize(QSize(16, 16))
        close.setToolTip("Close (Ctrl+.)")
        close.setAccessibleName("Close the settings of this conversation")
        close.clicked.connect(self.closed)
        top = QHBoxLayout()
        top.addWidget(heading, 1)
        top.addWidget(close)
        self._choice = ChoiceBox(self)
        self._choice.setAccessibleName("Preset")
        self._choice.setToolTip("Where the settings are taken from")
        self._choice.activated.connect(self._on_preset_chosen)
        self._save = QPushButton("Save as a preset…", self)
        self._save.setAccessibleName("Save as a preset")
        self._save.clicked.connect(self._on_save_clicked)
        self._delete = QPushButton("Delete", self)
        self._delete.setAccessibleName("Delete the preset")
        self._delete.clicked.connect(self._on_delete_clicked)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        buttons.addWidget(self._save)
        buttons.addWidget(self._delete)
        buttons.addStretch(1)
        self.form = ChatSettingsForm(self)
        self.form.settings_changed.connect(self._on_form_changed)
        self.form.tool_requested.connect(self.tool_requested)
        self.form.tool_removed.connect(self.tool_removed)
        inside = QWidget(self)
        room = QVBoxLayout(inside)
        room.setContentsMargins(0, 0, SPACE[1], SPACE[2])
        room.addWidget(self.form)
        room.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(inside)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[2], SPACE[2], SPACE[1], 0)
        column.setSpacing(SPACE[1])
        column.addLayout(top)
        column.addWidget(self._choice)
        column.addLayout(buttons)
        column.addWidget(scroll, 1)

    def show_settings(self, settings: ChatSettings | None, defaults: ChatSettings) -> None:
        """Show those of a conversation. settings None: it has none of its own, and follows the defaults."""
        if settings == self._settings and defaults == self._defaults:
            return
        self._settings, self._defaults, self._own = settings, defaults, None
        self.form.show_settings(settings or defaults)
        self._show_choice()

    def show_presets(self, known: Mapping[str, ChatSettings]) -> None:
        """The user's presets there are."""
        self._presets = dict(known)
        self._show_choice()

    def flush(self) -> None:
        """Emit at once what was changed."""
        self.form.flush()

    def _of_preset(self, name: str) -> ChatSettings | None:
        return presets.chosen(name, self._presets, self._settings or self._defaults)

    def _show_choice(self) -> None:
        name = self._settings.preset if self._settings is not None else _DEFAULTS
        same = self._settings is None or self._of_preset(name) == self._settings
        if not same:
            self._own = self._settings
        own = [_CHANGED] if self._own is not None else []
        self._choice.clear()
        self._choice.addItems([*own, _DEFAULTS, *presets.names(self._presets)])
        self._choice.setCurrentText(name if same else _CHANGED)
        self._delete.setVisible(name in self._presets)

    @Slot(int)
    def _on_preset_chosen(self, _row: int) -> None:
        name = self._choice.currentText()
        settings = self._own if name == _CHANGED else self._of_preset(name)
        self._settings = settings
        self.form.show_settings(settings or self._defaults)
        self._show_choice()
        self.settings_changed.emit(settings)

    @Slot(object)
    def _on_form_changed(self, settings: ChatSettings) -> None:
        self._settings = settings
        self._show_choice()
        self.settings_changed.emit(settings)

    @Slot()
    def _on_save_clicked(self) -> None:
        from PySide6.QtWidgets import QInputDialog

        self.form.flush()
        dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Save as a preset")
        dialog.setLabelText("Name of the preset. One of the same name is replaced.")
        name = self._settings.preset if self._settings is not None else ""
        dialog.setTextValue("" if name in presets.BUILT_IN else name)
        dialog.resize(420, dialog.sizeHint().height())
        dialog.textValueSelected.connect(self._on_name_given)
        dialog.open()

    @Slot(str)
    def _on_name_given(self, name: str) -> None:
        name = " ".join(name.split())
        if name and name not in presets.BUILT_IN and name not in (_DEFAULTS, _CHANGED):
            preset = msgspec.structs.replace(self._settings or self._defaults, preset=name)
            self._presets[name] = preset
            self._settings = preset
            self._show_choice()
            self.presets_changed.emit(dict(self._presets))
            self.settings_changed.emit(preset)

    @Slot()
    def _on_delete_clicked(self) -> None:
        name = self._settings.preset if self._settings is not None else ""
        if self._presets.pop(name, None) is not None:
            self._show_choice()
            self.presets_changed.emit(dict(self._presets))
