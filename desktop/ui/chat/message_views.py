"""Chooses the widget of a message, and passes on what it asks for."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from desktop.domain.conversation import Attachment, Message
from desktop.domain.generation import ToolCall
from desktop.ui.chat.message_view import MessageView

_PASSED_ON = (
    "continue_requested",
    "reload_requested",
    "action_triggered",
    "link_activated",
    "edit_requested",
    "edit_ended",
    "regenerate_requested",
    "fork_requested",
    "sibling_requested",
    "tool_answered",
)


def make_view(
    message: Message,
    width: int,
    parent: QWidget,
    data_of: Callable[[Attachment], bytes],
    call: ToolCall | None = None,
) -> MessageView:
    """A widget that shows the message in a column of this width, in pixels.

    data_of: the bytes of an attachment. call: the one whose result the message is.
    """
    # Imported here: with the first message, or by prepare(), and not before the window is shown.
    if message.role == "user":
        from desktop.ui.chat.user_bubble import UserBubble

        return UserBubble(message, width, parent, data_of)
    if message.role == "tool":
        from desktop.ui.chat.tool_result_view import ToolResultView

        return ToolResultView(message, call.name if call is not None else "", width, parent)
    from desktop.ui.chat.reply_view import ReplyView

    return ReplyView(message, width, parent)


def import_body() -> None:
    """What a reply's text is shown with."""
    from PySide6 import QtSvg  # noqa: F401

    import desktop.ui.markdown.body  # noqa: F401


def import_views() -> None:
    """The rest of a message and its reply."""
    import desktop.ui.chat.reply_view
    import desktop.ui.chat.user_bubble  # noqa: F401


def pass_on(view: MessageView, to: QObject) -> None:
    """Have another object, which has signals of the same names, emit what the user asks of this view."""
    for name in _PASSED_ON:
        getattr(view, name).connect(getattr(to, name))
