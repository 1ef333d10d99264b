"""Conversations out to a file and in from one: Markdown to read, JSON Lines without loss, and what others write."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from desktop.domain.conversation import Conversation, Folder, Message, MessageState
from desktop.storage.cancelling import Cancelled, IsCancelled, never
from desktop.storage.conversations import ConversationStore
from desktop.storage.refusals import export_failed, import_broken
from desktop.storage.transfer_lines import (
    FORMAT,
    VERSION,
    AttachmentLine,
    ConversationLine,
    EndLine,
    FolderLine,
    HeaderLine,
    MessageLine,
    encode_line,
)
from desktop.storage.transfer_markdown import markdown_of
from desktop.storage.transfer_reading import ReadLine, read_lines

_FIELDS = tuple(set(MessageLine.__struct_fields__) - {"parent"})


class Counts(NamedTuple):
    """How much a file holds."""

    folders: int
    conversations: int
    messages: int


class FirstIds(NamedTuple):
    """The first ids that an import may use; it counts on from them."""

    folder: int
    conversation: int
    message: int


def export_markdown(
    store: ConversationStore,
    path: Path,
    conversation_ids: Collection[int] | None = None,
    cancelled: IsCancelled = never,
) -> None:
    """Write the branches on screen of these conversations (None: of all) to one Markdown file, the newest first.

    The file appears when it is whole. Raises TurbodeskError, Cancelled.
    """
    with store.batch("DEFERRED"), _replaced(path) as file:
        for number, conversation in enumerate(_chosen(store, conversation_ids)):
            _check(cancelled)
            if number:
                file.write(b"\n")
            for part in markdown_of(conversation, store.messages(conversation.id)):
                file.write(part.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode())


def export_json_lines(
    store: ConversationStore,
    path: Path,
    conversation_ids: Collection[int] | None = None,
    cancelled: IsCancelled = never,
) -> Counts:
    """Write these conversations with all their branches (None: all, and all folders) so that nothing is lost.

    Uses little memory, however much there is; the file appears when it is whole. Raises TurbodeskError, Cancelled.
    """
    with store.batch("DEFERRED"), _replaced(path) as file:

        def write(line: HeaderLine | FolderLine | ConversationLine | AttachmentLine | MessageLine | EndLine) -> None:
            file.write(encode_line(line))

        write(HeaderLine(format=FORMAT, version=VERSION))
        conversations = sorted(_chosen(store, conversation_ids), key=lambda conversation: conversation.id)
        used = {conversation.folder_id for conversation in conversations}
        folders = [folder for folder in store.folders() if conversation_ids is None or folder.id in used]
        for folder in folders:
            write(FolderLine(name=folder.name))
        folder_numbers = {folder.id: number for number, folder in enumerate(folders, 1)}
        written: set[str] = set()
        messages = 0
        for conversation in conversations:
            numbers = store.message_numbers(conversation.id)
            write(_conversation_line(conversation, folder_numbers, numbers))
            for message in store.each_message(conversation.id):
                _check(cancelled)
                for attachment in message.attachments:
                    data = None if attachment.id in written else store.attachment(attachment.id)
                    if data is not None:
                        written.add(attachment.id)
                        write(AttachmentLine(id=attachment.id, data=base64.b64encode(data).decode()))
                write(_message_line(message, numbers))
            messages += len(numbers)
        counts = Counts(len(folders), len(conversations), messages)
        write(EndLine(**counts._asdict()))
    return counts


def inspect_import(path: Path, cancelled: IsCancelled = never) -> Counts:
    """Read a whole file that is to be imported, and say how many ids the import will need at most.

    Takes seconds for a large one: call it off the GUI thread. Raises TurbodeskError when the file is broken, Cancelled.
    """
    importer = _Importer(path, None, FirstIds(1, 1, 1))
    importer.run(cancelled)
    return importer.counts


def import_file(
    store: ConversationStore,
    path: Path,
    first: FirstIds | None = None,
    room: Counts | None = None,
    cancelled: IsCancelled = never,
) -> Counts:
    """Add what is in the file: an export in JSON Lines, messages in OpenAI's style, or what ChatGPT exports.

    Returns what was added.

    It gets new ids: from `first` on, as many as `room` at most (what inspect_import said); without them, the free ones
    of the database. A folder is not made again when there was one of its name. The other writers of the database wait
    meanwhile. Raises TurbodeskError or Cancelled; then nothing was changed.
    """
    with store.batch():
        if first is None:
            first = FirstIds(store.next_folder_id(), *store.next_ids())
        importer = _Importer(path, store, first)
        importer.run(cancelled)
        if room is not None and any(used > most for used, most in zip(importer.counts, room, strict=True)):
            raise import_broken(path.name, "it has changed since it was looked through")
    return importer.counts


class _Importer:
    """Gives ids to what is in a file, checks what refers to what, and adds it to a store, if there is one."""

    def __init__(self, path: Path, store: ConversationStore | None, first: FirstIds) -> None:
        self._name = path.name
        self._path = path
        self._store = store
        self._first = first
        self._folder_ids: list[int] = []
        self._known_folders: dict[str, list[int]] = {}
        for folder in store.folders() if store else ():
            self._known_folders.setdefault(folder.name, []).append(folder.id)
        self._new_folders = self._conversations = self._messages = 0
        self._conversation: ConversationLine | None = None
        self._begun = 0  # messages before this conversation's first

    @property
    def counts(self) -> Counts:
        """What was new."""
        return Counts(self._new_folders, self._conversations, self._messages)

    def run(self, cancelled: IsCancelled) -> None:
        """Take everything in. Raises TurbodeskError, Cancelled."""
        for line in read_lines(self._path):
            _check(cancelled)
            try:
                self._take(line)
            except ValueError as problem:
                raise import_broken(self._name, f"line {line.number}: {problem}") from problem
        try:
            self._end_conversation()
        except ValueError as problem:
            raise import_broken(self._name, str(problem)) from problem

    def _take(self, line: ReadLine) -> None:
        what = line.content
        if isinstance(what, FolderLine):
            self._add_folder(what)
        elif isinstance(what, ConversationLine):
            self._end_conversation()
            self._begin_conversation(what)
        elif isinstance(what, AttachmentLine):
            self._add_attachment(what)
        else:
            self._add_message(what)

    def _add_folder(self, line: FolderLine) -> None:
        if known := self._known_folders.get(line.name):
            self._folder_ids.append(known.pop(0))
            return
        folder = Folder(id=self._first.folder + self._new_folders, name=line.name)
        self._new_folders += 1
        self._folder_ids.append(folder.id)
        if self._store:
            self._store.add_folder(folder)

    def _begin_conversation(self, line: ConversationLine) -> None:
        if line.folder is not None and line.folder > len(self._folder_ids):
            raise ValueError(f"there is no folder {line.folder} above it")
        self._conversation = line
        self._begun = self._messages
        if self._store:
            self._store.add_conversation(
                Conversation(
                    id=self._first.conversation + self._conversations,
                    title=line.title,
                    created_at=line.created_at,
                    updated_at=line.updated_at,
                    title_chosen=line.title_chosen,
                    folder_id=None if line.folder is None else self._folder_ids[line.folder - 1],
                    pinned=line.pinned,
                    settings=line.settings,
                )
            )
        self._conversations += 1

    def _end_conversation(self) -> None:
        if self._conversation is None:
            return
        leaf = self._conversation.leaf
        if leaf is not None and leaf > self._messages - self._begun:
            raise ValueError(f"a conversation that ends above it has no message {leaf}, which it says it shows")
        if self._store:
            leaf_id = None if leaf is None else self._message_id(leaf)
            self._store.set_leaf(self._first.conversation + self._conversations - 1, leaf_id)
        self._conversation = None

    def _add_attachment(self, line: AttachmentLine) -> None:
        data = base64.b64decode(line.data, validate=True)
        if hashlib.sha256(data).hexdigest() != line.id:
            raise ValueError("the attachment's bytes are not those that were exported")
        if self._store:
            self._store.add_attachment(line.id, data)

    def _add_message(self, line: MessageLine) -> None:
        if self._conversation is None:
            raise ValueError("there is no conversation above the message")
        if line.parent is not None and line.parent > self._messages - self._begun:
            raise ValueError(f"there is no message {line.parent} above it in its conversation")
        self._messages += 1
        if self._store:
            fields = {name: getattr(line, name) for name in _FIELDS}
            if line.state is MessageState.STREAMING:
                fields["state"] = MessageState.INTERRUPTED
            message = Message(
                id=self._first.message + self._messages - 1,
                conversation_id=self._first.conversation + self._conversations - 1,
                parent_id=None if line.parent is None else self._message_id(line.parent),
                **fields,
            )
            self._store.add_message(message, touch=False)

    def _message_id(self, number: int) -> int:
        return self._first.message + self._begun + number - 1


def _conversation_line(
    conversation: Conversation, folder_numbers: dict[int, int], message_numbers: dict[int, int]
) -> ConversationLine:
    return ConversationLine(
        title=conversation.title,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        leaf=None if conversation.leaf_id is None else message_numbers[conversation.leaf_id],
        title_chosen=conversation.title_chosen,
        folder=None if conversation.folder_id is None else folder_numbers[conversation.folder_id],
        pinned=conversation.pinned,
        settings=conversation.settings,
    )


def _message_line(message: Message, numbers: dict[int, int]) -> MessageLine:
    line = MessageLine(
        parent=None if message.parent_id is None else numbers[message.parent_id],
        **{name: getattr(message, name) for name in _FIELDS},
    )
    if message.state is MessageState.STREAMING:  # nobody will go on with it where it is read
        line = msgspec.structs.replace(line, state=MessageState.INTERRUPTED)
    return line


def _chosen(store: ConversationStore, conversation_ids: Collection[int] | None) -> Iterator[Conversation]:
    wanted = None if conversation_ids is None else set(conversation_ids)
    return (found for found in store.conversations() if wanted is None or found.id in wanted)


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled


@contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when the block ends well, and else leaves nothing."""
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as problem:
        with suppress(OSError):
            partial.unlink()
        if isinstance(problem, OSError):
            raise export_failed(path, problem) from problem
        raise
