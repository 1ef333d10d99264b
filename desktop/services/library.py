"""Every conversation, folder and message: held in memory as far as needed, each change saved."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from operator import attrgetter

import msgspec
from PySide6.QtCore import QObject, Signal

from desktop.domain.conversation import (
    Attachment,
    ChatSettings,
    Conversation,
    Folder,
    Message,
    MessageState,
    branch,
    newest_leaf,
    siblings,
    title_of_copy,
)
from desktop.services.store_writer import StoreWriter
from desktop.storage.conversations import ConversationStore


class Library(QObject):
    """Nothing here waits for the disk: reads come from memory or one read, writes go to the StoreWriter, in order.

    Ids are given out here, which is right as long as this is the only window on the database (InstanceLock).

    Signals:
        conversation_added, conversation_changed: a Conversation. conversation_removed: its id.
        folders_changed: there are other folders, or other names, or many more conversations.
        message_added, message_changed: a Message, whichever branch it is on.
        branch_changed: the id of a conversation that shows another branch now.
    """

    conversation_added = Signal(object)
    conversation_changed = Signal(object)
    conversation_removed = Signal(int)
    folders_changed = Signal()
    message_added = Signal(object)
    message_changed = Signal(object)
    branch_changed = Signal(int)

    def __init__(
        self,
        store: ConversationStore,
        writer: StoreWriter,
        now: Callable[[], float] = time.time,
        parent: QObject | None = None,
    ) -> None:
        """store: for reading, in this thread; all writes go through writer."""
        super().__init__(parent)
        self._store = store
        self._writer = writer
        self._now = now
        self._conversations = {conversation.id: conversation for conversation in store.conversations()}
        self._folders = {folder.id: folder for folder in store.folders()}
        self._messages: dict[int, dict[int, Message]] = {}
        self._next_conversation, self._next_message = store.next_ids()
        self._next_folder = store.next_folder_id()
        self._trash: dict[int, Conversation] = {}  # what was put there since the start
        self._gone: set[int] = set()  # deleted for good since the start
        self._unsaved_data: dict[str, bytes] = {}
        self._drafts = store.drafts()

    # reading

    def conversations(self) -> list[Conversation]:
        """All conversations, the last used first."""
        return sorted(self._conversations.values(), key=_last_used, reverse=True)

    def conversation(self, conversation_id: int) -> Conversation:
        """One conversation. KeyError when there is none."""
        return self._conversations[conversation_id]

    def has(self, conversation_id: int) -> bool:
        """Whether there is such a conversation, the trash not counted."""
        return conversation_id in self._conversations

    def folders(self) -> list[Folder]:
        """All folders by name."""
        return sorted(self._folders.values(), key=lambda folder: (folder.name.casefold(), folder.id))

    def folder_name(self, folder_id: int) -> str:
        """The name of a folder; "" when there is none."""
        folder = self._folders.get(folder_id)
        return folder.name if folder is not None else ""

    def tree(self, conversation_id: int) -> dict[int, Message]:
        """All messages of all branches by id. Read from the disk at the first call for a conversation."""
        if conversation_id not in self._messages:
            self._messages[conversation_id] = self._store.messages(conversation_id)
        return self._messages[conversation_id]

    def branch(self, conversation_id: int) -> list[Message]:
        """The messages on screen, from the first to the last."""
        return branch(self.tree(conversation_id), self._conversations[conversation_id].leaf_id)

    def place(self, conversation_id: int, message_id: int) -> tuple[int, int]:
        """Which of how many a message is among those that stand in its place; the first is 1."""
        alike = siblings(self.tree(conversation_id), message_id)
        return alike.index(message_id) + 1, len(alike)

    def data(self, attachment: Attachment) -> bytes:
        """The bytes of an attachment; b"" when they are lost."""
        return self._unsaved_data.get(attachment.id) or self._store.attachment(attachment.id) or b""

    # conversations

    def add_conversation(
        self, title: str, *, settings: ChatSettings | None = None, folder_id: int | None = None, chosen: bool = False
    ) -> int:
        """Begin a conversation; returns its id."""
        conversation = Conversation(
            id=self._next_conversation,
            title=title,
            created_at=self._now(),
            updated_at=self._now(),
            title_chosen=chosen,
            settings=settings,
            folder_id=folder_id,
        )
        self._next_conversation += 1
        self._conversations[conversation.id] = conversation
        self._messages[conversation.id] = {}
        self._writer.post(lambda store: store.add_conversation(conversation))
        self.conversation_added.emit(conversation)
        return conversation.id

    def rename(self, conversation_id: int, title: str, *, chosen: bool = True) -> None:
        """Give a conversation another title; an empty one is ignored. chosen: by the user."""
        title = " ".join(title.split())
        if title:
            self._change(conversation_id, title=title, title_chosen=chosen)
            self._writer.post(lambda store: store.rename(conversation_id, title, chosen=chosen))

    def set_pinned(self, conversation_id: int, pinned: bool) -> None:
        """Keep a conversation at the top of the list, or no longer."""
        self._change(conversation_id, pinned=pinned)
        self._writer.post(lambda store: store.set_pinned(conversation_id, pinned))

    def set_folder(self, conversation_id: int, folder_id: int | None) -> None:
        """Put a conversation into a folder; None takes it out."""
        self._change(conversation_id, folder_id=folder_id)
        self._writer.post(lambda store: store.set_folder(conversation_id, folder_id))

    def set_settings(self, conversation_id: int, settings: ChatSettings | None) -> None:
        """How this conversation talks to the model from now on; None: as the settings page says."""
        self._change(conversation_id, settings=settings)
        self._writer.post(lambda store: store.set_settings(conversation_id, settings))

    def select(self, conversation_id: int, message_id: int) -> None:
        """Show the branch that goes through this message, to its newest end."""
        leaf = newest_leaf(self.tree(conversation_id), message_id)
        self._change(conversation_id, leaf_id=leaf)
        self._writer.post(lambda store: store.set_leaf(conversation_id, leaf))
        self.branch_changed.emit(conversation_id)

    def trash(self, conversation_id: int) -> None:
        """Put a conversation into the trash."""
        when = self._now()
        conversation = self._conversations.pop(conversation_id)
        self._trash[conversation_id] = msgspec.structs.replace(conversation, deleted_at=when)
        self._writer.post(lambda store: store.trash(conversation_id, when))
        self.conversation_removed.emit(conversation_id)

    def trashed(self) -> list[Conversation]:
        """What is in the trash, the last deleted first. Reads the disk, where the latest changes may be missing."""
        known = {conversation.id: conversation for conversation in self._store.trashed()} | self._trash
        found = (c for c in known.values() if c.id not in self._conversations and c.id not in self._gone)
        return sorted(found, key=lambda conversation: (conversation.deleted_at or 0.0, conversation.id), reverse=True)

    def restore(self, conversation_id: int) -> None:
        """Take a conversation out of the trash again; ignored when it is not there."""
        conversation = next((c for c in self.trashed() if c.id == conversation_id), None)
        if conversation is not None:
            self._trash.pop(conversation_id, None)
            folder = conversation.folder_id if conversation.folder_id in self._folders else None
            conversation = msgspec.structs.replace(conversation, deleted_at=None, folder_id=folder)
            self._conversations[conversation_id] = conversation
            self._writer.post(lambda store: store.restore(conversation_id))
            self.conversation_added.emit(conversation)

    def draft(self, conversation_id: int | None) -> str:
        """What is written in a conversation and not sent yet; None: in the chat that is not begun."""
        return self._drafts.get(conversation_id, "")

    def set_draft(self, conversation_id: int | None, text: str) -> None:
        """Keep what is written, over the end of the program too."""
        if text != self.draft(conversation_id):
            self._drafts[conversation_id] = text
            self._writer.post(lambda store: store.set_draft(conversation_id, text))

    def delete_for_good(self, conversation_id: int) -> None:
        """Delete a conversation that is in the trash; ignored when it is not there."""
        if any(conversation.id == conversation_id for conversation in self.trashed()):
            self._gone.add(conversation_id)
            self._trash.pop(conversation_id, None)
            self._messages.pop(conversation_id, None)
            self._writer.post(lambda store: store.delete(conversation_id))

    # folders

    def add_folder(self, name: str) -> int:
        """Make a folder; returns its id."""
        folder = Folder(id=self._next_folder, name=" ".join(name.split()) or "Folder")
        self._next_folder += 1
        self._folders[folder.id] = folder
        self._writer.post(lambda store: store.add_folder(folder))
        self.folders_changed.emit()
        return folder.id

    def rename_folder(self, folder_id: int, name: str) -> None:
        """Give a folder another name; an empty one is ignored."""
        name = " ".join(name.split())
        if name:
            self._folders[folder_id] = Folder(id=folder_id, name=name)
            self._writer.post(lambda store: store.rename_folder(folder_id, name))
            self.folders_changed.emit()

    def delete_folder(self, folder_id: int) -> None:
        """Delete a folder; its conversations stay, outside."""
        for conversation in self.conversations():
            if conversation.folder_id == folder_id:
                self._change(conversation.id, folder_id=None)
        del self._folders[folder_id]
        self._writer.post(lambda store: store.delete_folder(folder_id))
        self.folders_changed.emit()

    # messages

    def add_data(self, data: bytes) -> str:
        """Save the bytes of an attachment; returns its id."""
        attachment_id = hashlib.sha256(data).hexdigest()
        self._unsaved_data[attachment_id] = data

        def write(store: ConversationStore) -> None:
            store.add_attachment(attachment_id, data)
            self._unsaved_data.pop(attachment_id, None)

        self._writer.post(write)
        return attachment_id

    def add_message(self, message: Message) -> Message:
        """Add a message after its parent, with a new id and the time of now; its branch is then the one on screen."""
        message = msgspec.structs.replace(message, id=self._next_message, created_at=self._now())
        self._next_message += 1
        tree = self.tree(message.conversation_id)
        other_branch = message.parent_id != self._conversations[message.conversation_id].leaf_id
        tree[message.id] = message
        self._writer.post(lambda store: store.add_message(message))
        self._change(message.conversation_id, leaf_id=message.id, updated_at=message.created_at)
        if other_branch:
            self.branch_changed.emit(message.conversation_id)
        else:
            self.message_added.emit(message)
        return message

    def copy_branch(self, conversation_id: int, path: Sequence[Message]) -> int:
        """Make a conversation of these messages, with the folder, settings and numbered title of another.

        Returns its id.
        """
        original = self._conversations[conversation_id]
        titles = {known.title for known in (*self._conversations.values(), *self._trash.values())}
        copy = msgspec.structs.replace(
            original,
            id=self._next_conversation,
            title=title_of_copy(original.title, titles),
            title_chosen=True,
            created_at=self._now(),
            updated_at=self._now(),
            pinned=False,
        )
        self._next_conversation += 1
        copies: list[Message] = []
        for message in path:
            streaming = message.state is MessageState.STREAMING
            copies.append(
                msgspec.structs.replace(
                    message,
                    id=self._next_message,
                    conversation_id=copy.id,
                    parent_id=copies[-1].id if copies else None,
                    state=MessageState.INTERRUPTED if streaming else message.state,
                )
            )
            self._next_message += 1
        copy = msgspec.structs.replace(copy, leaf_id=copies[-1].id if copies else None)
        self._conversations[copy.id] = copy
        self._messages[copy.id] = {message.id: message for message in copies}
        self._writer.post(lambda store: store.copy_branch(copy, copies))
        self.conversation_added.emit(copy)
        return copy.id

    def reserve(self, folders: int, conversations: int, messages: int) -> tuple[int, int, int]:
        """Keep ids free for an import; returns the first of each kind."""
        first = self._next_folder, self._next_conversation, self._next_message
        self._next_folder += folders
        self._next_conversation += conversations
        self._next_message += messages
        return first

    def read_again(self) -> None:
        """Take in the conversations and folders that an import has added."""
        self._folders = {folder.id: folder for folder in self._store.folders()} | self._folders
        for conversation in self._store.conversations():
            if conversation.id not in self._trash and conversation.id not in self._gone:
                self._conversations.setdefault(conversation.id, conversation)
        self.folders_changed.emit()

    def put(self, message: Message) -> None:
        """Show what a message has become; whoever calls sees to the saving."""
        self.tree(message.conversation_id)[message.id] = message
        if message.conversation_id in self._conversations:
            self.message_changed.emit(message)

    def write(self, work: Callable[[ConversationStore], object]) -> None:
        """Do this to the database, after all that was asked for before."""
        self._writer.post(work)

    def touch(self, conversation_id: int) -> None:
        """Have the conversation's row drawn again."""
        self.conversation_changed.emit(self._conversations[conversation_id])

    def _change(self, conversation_id: int, **changes: object) -> None:
        conversation = msgspec.structs.replace(self._conversations[conversation_id], **changes)
        self._conversations[conversation_id] = conversation
        self.conversation_changed.emit(conversation)


_last_used = attrgetter("updated_at", "id")
