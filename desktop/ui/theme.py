"""Colours, spacing and type of the whole window, in light and dark, and what follows the system's choice."""

from __future__ import annotations

import os
from typing import Literal

import msgspec
from PySide6.QtCore import QObject, Qt, Slot
from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication, QWidget

Mode = Literal["system", "light", "dark"]

STYLE = "Fusion"
_ATTRIBUTE = "_turbodesk_theme"

SPACE = (4, 8, 12, 16, 24, 32)  # pixels between and inside things; nothing else is used
RADIUS = 8


class TypeScale(msgspec.Struct, frozen=True):
    """Sizes of text in points."""

    small: float = 8.5
    body: float = 10.0
    title: float = 12.5
    heading: float = 16.0


TYPE = TypeScale()


class Palette(msgspec.Struct, frozen=True, kw_only=True):
    """Every colour of the window. The memory colours are told apart by the colour-blind."""

    text: str
    dim: str
    background: str
    panel: str
    field: str  # what one writes into, cards, menus
    line: str
    accent: str
    on_accent: str
    accent_soft: str  # what is selected
    danger: str
    ok: str
    other: str  # memory of other programs
    job: str  # of a job of ours
    weights: str
    kv: str
    kv_reserved: str
    workspace: str
    free: str


LIGHT = Palette(
    text="#1d1f22",
    dim="#62676e",
    background="#fbfbfa",
    panel="#f3f3f1",
    field="#ffffff",
    line="#e1e1dd",
    accent="#1f6feb",
    on_accent="#ffffff",
    accent_soft="#e4eefd",
    danger="#b3261e",
    ok="#1a7f4b",
    other="#9aa0a6",
    job="#cc79a7",
    weights="#0072b2",
    kv="#009e73",
    kv_reserved="#a9dcc9",
    workspace="#e69f00",
    free="#e4e4e0",
)
DARK = Palette(
    text="#eceef0",
    dim="#9aa2ab",
    background="#17181a",
    panel="#1e2023",
    field="#24272b",
    line="#34383d",
    accent="#6ea8fe",
    on_accent="#0f1a2b",
    accent_soft="#22324a",
    danger="#f2867e",
    ok="#5ccf8f",
    other="#7c838a",
    job="#d48fb8",
    weights="#3c9be0",
    kv="#2ebf95",
    kv_reserved="#1f5949",
    workspace="#e6a939",
    free="#2f3338",
)


def palette_for(scheme: Qt.ColorScheme) -> Palette:
    """The colours of a scheme; light when the system does not say."""
    return DARK if scheme == Qt.ColorScheme.Dark else LIGHT


def palette_of(widget: QWidget) -> Palette:
    """The colours a widget paints with. Ask again at each painting: they change with the system's scheme."""
    return DARK if widget.palette().color(QPalette.ColorRole.Window).lightness() < 128 else LIGHT


def current_palette() -> Palette:
    """The colours in force. For widgets with rules of their own in the style sheet, whose palette lags behind."""
    return DARK if QApplication.palette().color(QPalette.ColorRole.Window).lightness() < 128 else LIGHT


def font_of(widget: QWidget, points: float, *, bold: bool = False) -> QFont:
    """The widget's font in a size of the type scale, with digits of one width so that live figures stand still."""
    font = QFont(widget.font())
    font.setPointSizeF(points)
    font.setBold(bold)
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


def apply_theme(app: QApplication, mode: Mode = "system") -> None:
    """Dress the application; may be called again with another mode. "system" follows the desktop as it changes."""
    # Not findChild: it makes PySide build QStyle, a child of the application, with all its enumerations: 10 ms.
    theme: _Theme | None = getattr(app, _ATTRIBUTE, None)
    if theme is None:
        theme = _Theme(app)
        setattr(app, _ATTRIBUTE, theme)
    theme.set_mode(mode)


class _Theme(QObject):
    """Keeps one application in one mode. Lives as long as the application, its parent."""

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self._app = app
        self._mode: Mode = "system"
        self._applied: Palette | None = None
        if os.environ.get("QT_STYLE_OVERRIDE") != STYLE:  # set before the start it saves the same 10 ms
            app.setStyle(STYLE)
        font = app.font()
        font.setPointSizeF(TYPE.body)
        app.setFont(font)
        app.styleHints().colorSchemeChanged.connect(self._on_scheme_changed)

    def set_mode(self, mode: Mode) -> None:
        self._mode = mode
        hints = self._app.styleHints()
        if mode == "system":
            hints.unsetColorScheme()
        else:
            hints.setColorScheme(Qt.ColorScheme.Dark if mode == "dark" else Qt.ColorScheme.Light)
        self._dress()

    @Slot(Qt.ColorScheme)
    def _on_scheme_changed(self, _scheme: Qt.ColorScheme) -> None:
        self._dress()

    def _dress(self) -> None:
        if self._mode == "system":
            palette = palette_for(self._app.styleHints().colorScheme())
        else:
            palette = DARK if self._mode == "dark" else LIGHT
        if palette is self._applied:
            return
        self._applied = palette
        self._app.setPalette(qt_palette(palette))
        self._app.setStyleSheet(style_sheet(palette))


def qt_palette(colours: Palette) -> QPalette:
    """The same colours under Qt's names, for everything that the style draws by itself."""
    role = QPalette.ColorRole
    palette = QPalette()
    for name, colour in {
        role.Window: colours.background,
        role.WindowText: colours.text,
        role.Base: colours.field,
        role.AlternateBase: colours.panel,
        role.Text: colours.text,
        role.PlaceholderText: colours.dim,
        role.Button: colours.panel,
        role.ButtonText: colours.text,
        role.BrightText: colours.danger,
        role.ToolTipBase: colours.field,
        role.ToolTipText: colours.text,
        role.Highlight: colours.accent,
        role.HighlightedText: colours.on_accent,
        role.Accent: colours.accent,
        role.Link: colours.accent,
        role.LinkVisited: colours.accent,
        role.Light: colours.field,
        role.Midlight: colours.panel,
        role.Mid: colours.line,
        role.Dark: colours.line,
    }.items():
        palette.setColor(name, QColor(colour))
    for name in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, name, QColor(colours.dim))
    return palette


def style_sheet(colours: Palette) -> str:
    """What the style cannot know from colours alone: corners, room, thin scroll bars, a ring around the focus."""
    c, r = colours, RADIUS
    return f"""
QPushButton, QToolButton {{
    color: {c.text}; background: {c.field}; border: 1px solid {c.line}; border-radius: {r}px;
    padding: 6px 14px;
}}
QToolButton {{ background: transparent; border-color: transparent; padding: 6px; }}
QPushButton:hover, QToolButton:hover, QToolButton:checked {{ background: {c.accent_soft}; }}
QPushButton:pressed, QToolButton:pressed {{ background: {c.line}; }}
QPushButton:disabled, QToolButton:disabled {{ color: {c.dim}; background: transparent; }}
QPushButton[primary="true"] {{ color: {c.on_accent}; background: {c.accent}; border-color: {c.accent}; }}
QPushButton[primary="true"]:hover {{ background: {_mixed(c.accent, c.text, 0.12)}; }}
QPushButton[primary="true"]:pressed {{ background: {_mixed(c.accent, c.text, 0.24)}; }}
QPushButton[primary="true"]:disabled {{ color: {c.dim}; background: {c.line}; border-color: {c.line}; }}
QLineEdit, QPlainTextEdit {{
    color: {c.text}; background: {c.field}; border: 1px solid {c.line}; border-radius: {r}px; padding: 6px 10px;
    selection-color: {c.on_accent}; selection-background-color: {c.accent};
}}
QPushButton:focus, QToolButton:focus, QLineEdit:focus, QPlainTextEdit:focus, QListView:focus, QTreeView:focus {{
    border: 1px solid {c.accent};
}}
QPushButton[primary="true"]:focus {{ border: 2px solid {c.text}; padding: 5px 13px; }}
QListView, QTreeView {{ background: transparent; border: 1px solid transparent; border-radius: {r}px; outline: none; }}
QListView::item, QTreeView::item {{ color: {c.text}; border-radius: {r}px; padding: 8px; }}
QListView::item:hover, QTreeView::item:hover {{ background: {c.line}; }}
QListView::item:selected, QTreeView::item:selected {{ color: {c.text}; background: {c.accent_soft}; }}
QComboBox, QAbstractSpinBox {{
    color: {c.text}; background: {c.field}; border: 1px solid {c.line}; border-radius: {r}px; padding: 5px 10px;
    selection-color: {c.on_accent}; selection-background-color: {c.accent};
}}
QComboBox:focus, QAbstractSpinBox:focus {{ border-color: {c.accent}; }}
QComboBox:disabled, QAbstractSpinBox:disabled {{ color: {c.dim}; background: transparent; }}
QComboBox::drop-down {{ border: none; width: 24px; }}
QComboBox::down-arrow, QAbstractSpinBox::up-arrow, QAbstractSpinBox::down-arrow {{ image: none; }}
QComboBox QAbstractItemView {{ background: {c.field}; border: 1px solid {c.line}; outline: none; }}
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{ border: none; background: transparent; width: 20px; }}
QCheckBox {{ spacing: 8px; }}
QCheckBox::indicator {{ width: 14px; height: 14px; border: 1px solid {c.dim}; border-radius: 4px; }}
QCheckBox::indicator:checked {{ background: {c.accent}; border-color: {c.accent}; }}
QCheckBox:focus {{ color: {c.accent}; }}
QRadioButton {{ spacing: 8px; }}
QRadioButton::indicator {{ width: 14px; height: 14px; border: 1px solid {c.dim}; border-radius: 8px; }}
QRadioButton::indicator:checked {{ background: {c.on_accent}; border: 5px solid {c.accent}; width: 6px; height: 6px; }}
QRadioButton::indicator:disabled {{ border-color: {c.line}; }}
QRadioButton:focus {{ color: {c.accent}; }}
QRadioButton:disabled {{ color: {c.dim}; }}
QProgressBar {{ background: {c.free}; border: none; border-radius: 3px; max-height: 6px; color: transparent; }}
QProgressBar::chunk {{ background: {c.accent}; border-radius: 3px; }}
QMenu {{ color: {c.text}; background: {c.field}; border: 1px solid {c.line}; padding: 4px; }}
QMenu::item {{ padding: 6px 24px 6px 12px; border-radius: 4px; }}
QMenu::item:selected {{ background: {c.accent_soft}; }}
QMenu::item:disabled {{ color: {c.dim}; }}
QMenu::separator {{ height: 1px; background: {c.line}; margin: 4px 8px; }}
QToolTip {{ color: {c.text}; background: {c.field}; border: 1px solid {c.line}; padding: 8px; }}
QScrollBar {{ background: transparent; border: none; }}
QScrollBar:vertical {{ width: 10px; }}
QScrollBar:horizontal {{ height: 10px; }}
QScrollBar::handle {{ background: {_mixed(c.line, c.dim, 0.35)}; border-radius: 3px; margin: 2px; }}
QScrollBar::handle:hover {{ background: {c.dim}; }}
QScrollBar::handle:vertical {{ min-height: 32px; }}
QScrollBar::handle:horizontal {{ min-width: 32px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QScrollArea, QScrollArea > QWidget > QWidget {{ background: transparent; border: none; }}
QTableView {{
    color: {c.text}; background: {c.field}; border: 1px solid {c.line}; border-radius: {r}px; outline: none;
    selection-color: {c.text}; selection-background-color: {c.accent_soft};
}}
QTableView:focus {{ border-color: {c.accent}; }}
QHeaderView {{ background: transparent; border: none; }}
QHeaderView::section {{
    color: {c.dim}; background: {c.field}; border: none; border-bottom: 1px solid {c.line}; padding: 5px 3px;
}}
QLabel[dim="true"] {{ color: {c.dim}; }}
QLabel[tone="ok"] {{ color: {c.ok}; }}
QLabel[tone="danger"] {{ color: {c.danger}; }}
QPlainTextEdit[bare="true"], QTextBrowser[bare="true"] {{
    color: {c.text}; background: transparent; border: none; border-radius: 0; padding: 0;
    selection-color: {c.on_accent}; selection-background-color: {c.accent};
}}
#Header {{ background: {c.panel}; border-bottom: 1px solid {c.line}; }}
#Rail {{ background: {c.panel}; border-right: 1px solid {c.line}; }}
#Rail QToolButton {{ color: {c.dim}; border-radius: {r}px; padding: 5px 0 3px 0; }}
#Rail QToolButton:checked {{ color: {c.accent}; background: {c.accent_soft}; }}
#ConversationPanel {{ background: {c.background}; border-right: 1px solid {c.line}; }}
#UserBubble {{ background: {c.accent_soft}; border-radius: 12px; }}
#FailureCard {{ background: {c.panel}; border: 1px solid {c.line}; border-left: 3px solid {c.danger};
    border-radius: {r}px; }}
#Notice {{ background: {c.panel}; border-bottom: 1px solid {c.line}; border-left: 3px solid {c.danger}; }}
#Notice[calm="true"] {{ border-left-color: {c.ok}; }}
#ToolCard, #AttachmentChip, #UndoBar {{ background: {c.panel}; border: 1px solid {c.line}; border-radius: {r}px; }}
#FoldLine {{ color: {c.dim}; padding: 3px 8px 3px 0; }}
#ChatSettingsPanel {{ background: {c.background}; border-left: 1px solid {c.line}; }}
#Field {{ background: {c.field}; border: 1px solid {c.line}; border-radius: {r}px; }}
#Divider {{ background: {c.line}; }}
#CommandPalette {{ background: {c.field}; border: 1px solid {c.line}; border-radius: 12px; }}
"""


def _mixed(first: str, second: str, share: float) -> str:
    """A colour on the way from first to second."""
    a, b = QColor(first), QColor(second)
    parts = ((a.red(), b.red()), (a.green(), b.green()), (a.blue(), b.blue()))
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in parts)
