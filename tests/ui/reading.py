"""What a test reads off the chat page."""

from __future__ import annotations

from typing import Any

from desktop.ui.chat.reply_view import ReplyView
from desktop.ui.chat.user_bubble import UserBubble
from tests.ui.conftest import Desk


def views(desk: Desk) -> list[object]:
    return list(desk.window.chat_page.view._views.values())


def bubble(desk: Desk) -> UserBubble:
    return next(view for view in views(desk) if isinstance(view, UserBubble))


def reply(desk: Desk) -> ReplyView:
    return next(view for view in reversed(views(desk)) if isinstance(view, ReplyView))


def texts(desk: Desk) -> list[str]:
    current = desk.window.chat_page.current
    assert current is not None
    return [message.content for message in desk.chats.messages(current)]


def place_of(view: UserBubble | ReplyView) -> str:
    """Which version the arrows beneath a message say that it is; "" without arrows."""
    arrows = view._footer.arrows
    return "" if arrows is None or arrows.isHidden() else arrows.place.text()


def reply_buttons(view: ReplyView) -> Any:
    """The buttons beneath a finished reply."""
    assert view._buttons is not None
    return view._buttons
