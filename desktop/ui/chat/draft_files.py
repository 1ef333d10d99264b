"""The files of the message that is being written: picks them, has them read, says what they cost and what is wrong."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice, QObject, Signal, Slot
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget

from desktop.domain.context_window import PromptSize
from desktop.domain.conversation import Attachment
from desktop.domain.counting import counted
from desktop.domain.errors import Failure
from desktop.domain.generation import ChatMessage, GenerationRequest, ImagePart
from desktop.engine.base import EngineInfo
from desktop.services.attachment_reader import AttachmentReader
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.ui.chat.composer import Composer

MOST_FILES = 20
_CHARACTERS_A_TOKEN = 4  # where no model is loaded to count


class _File:
    """A file of a draft. attachment: None while it is being read. problem: why it cannot be used."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.attachment: Attachment | None = None
        self.data = b""
        self.problem = ""


class DraftFiles(QObject):
    """Drives the composer's bar of attachments. Each conversation has its own files until they are sent.

    Signals:
        changed: other files are attached.
    """

    changed = Signal()

    def __init__(self, chats: Chats, host: EngineHost, composer: Composer, parent: QWidget) -> None:
        super().__init__(parent)
        self._chats = chats
        self._host = host
        self._composer = composer
        self._window = parent
        self._reader = AttachmentReader(self)
        self._files: dict[int, _File] = {}  # of the open conversation, by the reader's numbers
        self._kept: dict[int | None, dict[int, _File]] = {}
        self._counted_by: EngineInfo | None = None
        self._reader.attachment_read.connect(self._on_attachment_read)
        self._reader.reading_failed.connect(self._on_reading_failed)
        host.tokens_counted.connect(self._on_tokens_counted)
        composer.bar.changed.connect(self._on_bar_changed)
        composer.attach_requested.connect(self.pick)
        composer.edit.files_given.connect(self.add)
        composer.edit.picture_given.connect(self._on_picture_given)
        composer.edit.text_given.connect(self._on_text_given)

    @Slot()
    def pick(self) -> None:
        """Let the user choose files."""
        from PySide6.QtWidgets import QFileDialog

        dialog = QFileDialog(self._window, "Attach pictures, texts or PDFs")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        dialog.filesSelected.connect(self.add)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    @Slot(list)
    def add(self, paths: list[str]) -> None:
        """Attach files, at most MOST_FILES at a time."""
        for path in paths[:MOST_FILES]:
            self._begin(self._reader.read(path), Path(path).name)
        if len(paths) > MOST_FILES:
            self._composer.bar.say(f"Only the first {MOST_FILES} files were attached.")

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """What is attached."""
        return self._composer.bar.attachments

    def data(self, attachment: Attachment) -> bytes:
        """The bytes of what is attached, or of what has been stored."""
        here = (file.data for file in self._files.values() if file.attachment == attachment)
        found = next(here, None)
        return self._chats.library.data(attachment) if found is None else found

    def take(self) -> tuple[Attachment, ...]:
        """What is attached, which then goes with the message."""
        attachments = self._composer.bar.attachments
        for file in self._files.values():
            if file.attachment is not None and file.attachment in attachments:
                self._chats.library.add_data(file.data)
        self._composer.bar.clear()
        return attachments

    def keep(self, conversation_id: int | None) -> None:
        """Put aside what is attached or still being read, for when this conversation is opened again."""
        self._kept[conversation_id] = dict(self._files)
        self._composer.bar.clear()

    def bring_back(self, conversation_id: int | None) -> None:
        """Attach again what was put aside."""
        for number, file in self._kept.pop(conversation_id, {}).items():
            if file.problem:
                self._composer.bar.say(file.problem)
                continue
            self._files[number] = file
            self._composer.bar.begin(number, file.name)
            if file.attachment is not None:
                self._show(number, file)

    @Slot()
    def check(self) -> None:
        """Refuse pictures that the loaded model cannot see, before anything is sent, and let a new model count."""
        info = self._host.status.info
        if info is not self._counted_by and self._host.is_ready:
            self._counted_by = info
            for number, file in self._files.items():
                self._ask_cost(number, file)
        pictures = any(attachment.kind == "image" for attachment in self._composer.bar.attachments)
        blind = info is not None and self._host.is_ready and not info.reads_images
        words = ""
        if pictures and blind and info is not None:
            words = f"{info.no_images}. Remove the picture, or load a model that sees pictures here."
        self._composer.refuse(words)

    def _begin(self, number: int, name: str) -> None:
        self._files[number] = _File(name)
        self._composer.bar.begin(number, name)

    def _show(self, number: int, file: _File) -> None:
        if file.attachment is None:
            return
        self._composer.bar.show_attachment(number, file.attachment, file.data)
        self._ask_cost(number, file)

    def _ask_cost(self, number: int, file: _File) -> None:
        """Have the model count it; guess while there is none, of a text."""
        if file.attachment is None:
            return
        kind = file.attachment.kind
        if kind == "image":
            message = ChatMessage("user", "", images=(ImagePart(file.data, file.attachment.media_type),))
        else:
            message = ChatMessage("user", file.data.decode(errors="replace"))
        if self._host.is_ready:
            self._host.count_tokens(GenerationRequest(request_id=f"{kind}.{number}", messages=(message,)))
        else:
            self._guess_cost(number, file)

    def _guess_cost(self, number: int, file: _File) -> None:
        """What a text costs about; of a picture nothing is known."""
        words = ""
        if file.attachment is not None and file.attachment.kind == "text":
            about = len(file.data.decode(errors="replace")) // _CHARACTERS_A_TOKEN
            words = f"about {counted(about, 'token')}"
        self._composer.bar.show_cost(number, words)

    def _find(self, number: int) -> _File | None:
        """The file that this answer of the reader is for, wherever its draft is."""
        drafts = (self._files, *self._kept.values())
        return next((files[number] for files in drafts if number in files), None)

    @Slot()
    def _on_bar_changed(self) -> None:
        here = self._composer.bar.numbers
        self._files = {number: file for number, file in self._files.items() if number in here}
        self.changed.emit()
        self.check()

    @Slot(object)
    def _on_picture_given(self, picture: object) -> None:
        if isinstance(picture, QImage) and not picture.isNull():
            buffer = QBuffer()
            buffer.open(QIODevice.OpenModeFlag.WriteOnly)
            picture.save(buffer, "PNG")  # type: ignore[call-overload]  # the stub wants bytes, PySide text
            name = "Pasted picture.png"
            self._begin(self._reader.read_image(bytes(buffer.data().data()), name), name)

    @Slot(str)
    def _on_text_given(self, text: str) -> None:
        name = "Pasted text.txt"
        self._begin(self._reader.read_text(text, name), name)

    @Slot(int, object, bytes)
    def _on_attachment_read(self, number: int, attachment: Attachment, data: bytes) -> None:
        if (file := self._find(number)) is not None:
            file.attachment, file.data = attachment, data
            if number in self._files:
                self._show(number, file)

    @Slot(int, object)
    def _on_reading_failed(self, number: int, problem: Failure) -> None:
        words = f"{problem.message} {problem.next_step}"
        if number in self._files:
            self._composer.bar.fail(number, words)
        elif (file := self._find(number)) is not None:
            file.problem = words

    @Slot(str, object)
    def _on_tokens_counted(self, request_id: str, size: PromptSize | None) -> None:
        kind, _, number = request_id.partition(".")
        if kind not in ("text", "image") or (file := self._files.get(int(number))) is None:
            return
        tokens = 0 if size is None else size.tokens if kind == "text" else size.pictures
        if tokens:
            self._composer.bar.show_cost(int(number), counted(tokens, "token"))
        else:  # a server does not count, and what another model counted is not true of this one
            self._guess_cost(int(number), file)
