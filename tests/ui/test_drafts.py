"""What is being written and attached: shown as it is, counted, kept over a switch, an undo and a restart."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop.domain.conversation import ChatSettings, WhenFull
from desktop.domain.generation import SamplingParams
from desktop.engine.scripted_engine import PICTURE_TOKENS, Script
from desktop.services.searcher import Searcher
from desktop.storage.conversations import ConversationStore
from desktop.ui.chat.fold import Fold
from desktop.ui.chat.message_editor import LONGEST
from tests.ui.conftest import OTHER, Desk
from tests.ui.reading import bubble, texts

# attachments


def test_a_text_file_goes_with_the_message(desk: Desk, tmp_path: Path) -> None:
    desk.load(Script(reply="yes"))
    file = tmp_path / "notes.txt"
    file.write_text("the secret is 7")
    page = desk.window.chat_page
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(file))])
    page.composer.edit.insertFromMimeData(data)
    bar = page.composer.bar
    desk.until(lambda: len(bar.attachments) == 1)
    assert bar.isVisible()
    chip = next(iter(bar._chips.values()))
    desk.until(lambda: "tokens" in chip._detail.text())
    assert page.composer.button.isEnabled()
    page.composer.button.click()
    desk.idle()
    assert not bar.isVisible()
    current = page.current
    assert current is not None
    (attachment,) = desk.chats.messages(current)[0].attachments
    assert attachment.name == "notes.txt"
    assert desk.chats.library.data(attachment) == b"the secret is 7"


def test_a_picture_is_refused_by_a_model_that_reads_only_text(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    page = desk.window.chat_page
    picture = QImage(60, 40, QImage.Format.Format_RGB32)
    picture.fill(0xFF0000)
    data = QMimeData()
    data.setImageData(picture)
    page.composer.edit.insertFromMimeData(data)
    bar = page.composer.bar
    desk.until(lambda: len(bar.attachments) == 1)
    assert "reads only text" in bar._problem.text()
    desk.bot.keyClicks(page.composer.edit, "What is it?")
    assert not page.composer.button.isEnabled()
    (chip,) = bar._chips.values()
    assert chip._detail.text() == "60 × 40", "a model that does not see it counts nothing"
    desk.load(Script(reply="red", reads_images=True), OTHER)
    assert bar._problem.text() == ""
    desk.until(lambda: chip._detail.text() == f"60 × 40 · {PICTURE_TOKENS} tokens")
    desk.until(lambda: page.composer.meter._label.text().startswith(f"{PICTURE_TOKENS + 3} /"))
    page.composer.button.click()
    desk.idle()
    assert texts(desk) == ["What is it?", "red"]
    current = page.current
    assert current is not None
    (attachment,) = desk.chats.messages(current)[0].attachments
    assert (attachment.kind, attachment.width, attachment.height) == ("image", 60, 40)


def test_a_file_that_cannot_be_read_says_why(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n not really")
    page = desk.window.chat_page
    page.files.add([str(broken)])
    desk.until(lambda: "broken.png cannot be attached" in page.composer.bar._problem.text())
    assert page.composer.bar.attachments == ()


def test_what_is_attached_waits_with_its_conversation(desk: Desk, tmp_path: Path) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    page = desk.window.chat_page
    first = page.current
    assert first is not None
    file = tmp_path / "a.txt"
    file.write_text("a")
    page.files.add([str(file)])
    desk.until(lambda: len(page.composer.bar.attachments) == 1)
    page.new_chat()
    assert page.composer.bar.attachments == ()
    page.open_conversation(first)
    assert [attachment.name for attachment in page.composer.bar.attachments] == ["a.txt"]


# the context


def test_the_context_meter_counts_the_conversation_and_the_draft(desk: Desk) -> None:
    desk.load(Script(reply="one two three", context_length=100))
    page = desk.window.chat_page
    page._new_settings = ChatSettings(when_full=WhenFull.STOP)
    label = page.composer.meter._label
    desk.until(lambda: label.text() == "0 / 100")
    desk.bot.keyClicks(page.composer.edit, "a b c d")
    desk.until(lambda: label.text() == "4 / 100")
    desk.bot.keyClick(page.composer.edit, "\r")
    desk.idle()
    desk.until(lambda: label.text() == "7 / 100")
    page.composer.set_text("word " * 90)
    desk.until(lambda: label.text() == "97 / 100")
    assert "cut off" in page.composer.meter.toolTip()


# nothing is lost


def test_a_file_that_is_being_read_is_there_after_a_switch(desk: Desk, tmp_path: Path) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    page = desk.window.chat_page
    first = page.current
    assert first is not None
    path = tmp_path / "notes.txt"
    path.write_text("some words")
    page.files.add([str(path), str(tmp_path / "missing.txt")])
    assert page.composer.bar.is_reading
    page.new_chat()
    assert not page.composer.bar.numbers
    desk.bot.wait(200)
    page.open_conversation(first)
    desk.until(lambda: [file.name for file in page.composer.bar.attachments] == ["notes.txt"])
    assert "missing.txt" in page.composer.bar._problem.text()
    page.new_chat()
    assert page.composer.bar._problem.text() == ""


def test_what_is_attached_counts_in_the_context(desk: Desk, tmp_path: Path) -> None:
    desk.load(Script(reply="yes"))
    path = tmp_path / "notes.txt"
    path.write_text("word " * 300)
    page = desk.window.chat_page
    page.files.add([str(path)])
    desk.until(lambda: "302" in page.composer.meter.accessibleName())
    page.composer.bar.clear()
    desk.until(lambda: "302" not in page.composer.meter.accessibleName())


def test_a_begun_edit_is_there_after_a_switch(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    page = desk.window.chat_page
    first = page.current
    assert first is not None
    desk.window._edit.trigger()
    editor = bubble(desk)._editor
    assert editor is not None
    desk.bot.keyClicks(editor.edit, " and two")
    page.new_chat()
    page.open_conversation(first)
    editor = bubble(desk)._editor
    assert editor is not None
    assert editor.edit.toPlainText() == "one and two"
    desk.bot.keyClick(editor.edit, Qt.Key.Key_Escape)
    assert page.composer.edit.hasFocus()
    page.new_chat()
    page.open_conversation(first)
    assert bubble(desk)._editor is None


def test_the_editor_opens_in_sight_where_the_end_was_followed(desk: Desk) -> None:
    desk.load(Script(reply="line\n\n" * 8))
    desk.ask("one")
    desk.idle()
    view = desk.window.chat_page.view
    for lines in range(8, 24):
        desk.load(Script(reply="line\n\n" * lines))
        desk.window._again.trigger()
        desk.idle()
        desk.bot.wait(30)
        if 0 < view.verticalScrollBar().maximum() < 60:
            break
    assert 0 < view.verticalScrollBar().maximum() < 60
    desk.window._edit.trigger()
    desk.bot.wait(200)
    editor = bubble(desk)._editor
    assert editor is not None
    top = editor.mapTo(view, QPoint(0, 0)).y()
    assert 0 <= top < view.height() - editor.height()


def test_what_is_too_long_to_be_edited_is_said(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    conversation = desk.chats.send(None, "x" * (LONGEST + 1))
    desk.idle()
    page = desk.window.chat_page
    assert conversation is not None
    page.open_conversation(conversation)
    desk.window._edit.trigger()
    assert bubble(desk)._editor is None
    assert "too long" in page.composer.bar._problem.text()


def test_the_composer_stays_above_its_buttons_in_the_smallest_window(desk: Desk, tmp_path: Path) -> None:
    desk.window.resize(desk.window.minimumSize())
    page = desk.window.chat_page
    path = tmp_path / "notes.txt"
    path.write_text("some words")
    page.files.add([str(path)])
    page.composer.set_text("line\n" * 30)
    desk.bot.wait(100)
    edit, button = page.composer.edit.geometry(), page.composer.button.geometry()
    assert edit.bottom() < button.top()
    assert button.bottom() < page.composer.height()


def test_a_built_in_preset_changes_only_how_words_are_chosen(desk: Desk) -> None:
    desk.window.chat_page.toggle_settings()
    panel = desk.window.chat_page._settings_panel
    assert panel is not None
    own = ChatSettings(system_prompt="Be brief", json_schema='{"type": "object"}', params=SamplingParams(seed=7))
    panel.show_settings(own, ChatSettings())
    panel._choice.setCurrentText("Precise")
    panel._on_preset_chosen(0)
    assert panel._settings is not None
    assert (panel._settings.system_prompt, panel._settings.json_schema) == (own.system_prompt, own.json_schema)
    assert (panel._settings.params.seed, panel._settings.params.temperature) == (7, 0.0)
    assert panel._choice.currentText() == "Precise"
    panel._choice.setCurrentText("Own settings")
    panel._on_preset_chosen(0)
    assert panel._settings == own


def test_numbers_are_typed_with_a_comma_and_not_changed_in_passing(desk: Desk) -> None:
    desk.window.chat_page.toggle_settings()
    panel = desk.window.chat_page._settings_panel
    assert panel is not None
    form = panel.form
    form._as_recommended.setChecked(False)
    box = form._temperature
    box.setFocus()
    box.selectAll()
    desk.bot.keyClicks(box, "1,25")
    assert box.value() == 1.25
    form._seed.setFocus()
    before = box.value()
    here = QPointF(box.rect().center())
    wheel = QWheelEvent(
        here, box.mapToGlobal(here), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(box, wheel)
    assert box.value() == before


def test_a_search_is_gone_through_by_keyboard(desk: Desk, tmp_path: Path) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("How large is the cache?")
    desk.idle()
    first = desk.window.chat_page.current
    desk.window.new_chat()
    panel = desk.window.chat_page.panel
    searcher = Searcher(lambda: ConversationStore(tmp_path / "conversations.db"))
    desk.window.search_requested.connect(searcher.search)
    searcher.found.connect(panel.show_hits)
    desk.window._search.trigger()
    desk.bot.keyClicks(panel.search_field, "large")
    desk.until(lambda: panel.results.list.isVisible())
    desk.bot.keyClick(panel.search_field, Qt.Key.Key_Down)
    assert panel.results.list.hasFocus()
    panel.search_field.setFocus()
    desk.bot.keyClick(panel.search_field, "\r")
    assert desk.window.chat_page.current == first
    searcher.close()


def test_what_is_written_is_there_after_a_restart(desk: Desk, tmp_path: Path) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    page = desk.window.chat_page
    first = page.current
    page.composer.set_text("of the first")
    page.new_chat()
    assert page.composer.text == ""
    page.composer.set_text("not begun")

    def saved() -> dict[int | None, str]:
        with closing(ConversationStore(tmp_path / "conversations.db")) as store:
            return store.drafts()

    desk.until(lambda: saved() == {first: "of the first", None: "not begun"})
    desk.bot.keyClick(page.composer.edit, "\r")
    desk.idle()
    desk.until(lambda: saved() == {first: "of the first"})


def test_a_deleted_conversation_takes_its_draft_along_and_brings_it_back(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    page = desk.window.chat_page
    page.composer.set_text("more")
    page.panel.list.setFocus()
    page.panel.delete_current()
    desk.until(lambda: page.current is None)
    assert page.composer.text == ""
    page.panel.undo_delete()
    desk.until(lambda: page.current is not None)
    assert page.composer.text == "more"


def test_a_folded_line_shows_every_sign(qtbot: QtBot) -> None:
    fold = Fold()
    qtbot.addWidget(fold)
    fold.set_line("calculator   7 & 3")
    assert fold._line.text() == "calculator   7 && 3"
    assert fold._line.accessibleName() == "calculator   7 & 3"
