"""Errors that nobody caught, in slots, threads and tasks: they reach the log and the user."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.services.notices import Notices

logger = logging.getLogger(__name__)


class Uncaught:
    """Takes the place of what Python does with such errors, from the moment it is made."""

    def __init__(self, notices: Notices, loop: asyncio.AbstractEventLoop) -> None:
        """loop: of the thread in which notices live."""
        self._notices = notices
        self._loop = loop
        sys.excepthook = self._take
        threading.excepthook = self._take_of_thread
        loop.set_exception_handler(self._take_of_loop)

    def _take(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        detail = "".join(traceback.format_exception(kind, error, trace))
        logger.error(detail)
        known = error.failure if isinstance(error, TurbodeskError) else None
        self._notices.raise_notice(known or failure(FailureCode.INTERNAL, reason=error or kind.__name__, detail=detail))

    def _take_of_thread(self, arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            self._loop.call_soon_threadsafe(
                self._take, arguments.exc_type, arguments.exc_value, arguments.exc_traceback
            )

    def _take_of_loop(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None:
            logger.error(context["message"])
        else:
            self._take(type(error), error, error.__traceback__)
