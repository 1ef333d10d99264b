"""The whole program: its ways in, its ways out, and what it says when it cannot start."""

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import qasync
from PySide6.QtWidgets import QApplication

from desktop.__main__ import parse_arguments
from desktop.app import App
from desktop.domain.conversation import MessageState
from desktop.domain.errors import FailureCode, TurbodeskError, error
from desktop.domain.hub import DownloadPlan, HubAddress, HubKind
from desktop.engine.scripted_engine import Script, ScriptedEngine
from desktop.storage.conversations import ConversationStore
from desktop.storage.hub import open_hub
from desktop.storage.hub_holding import Holding
from desktop.storage.paths import AppPaths, app_paths, demo_checkpoint
from desktop.ui.unsaved_question import UnsavedQuestion
from tests.hub_server import HubServer
from tests.small_server import SmallServer, models, stream

ROOT = Path(__file__).parents[1]
Play = Callable[[App], Awaitable[None]]


@pytest.fixture
def paths(tmp_path: Path) -> AppPaths:
    return app_paths(tmp_path / "data")


def run_app(qapp: QApplication, paths: AppPaths, play: Play, *arguments: str, script: Script | None = None) -> int:
    """Run the program as desktop.app.run does, with `play` as its user."""
    options: argparse.Namespace = parse_arguments(["--data-dir", str(paths.data), *arguments])
    hooks = sys.excepthook, __import__("threading").excepthook

    async def main() -> int:
        app = App(paths, lambda on_log: ScriptedEngine(script or Script(tokens=10)))
        user = asyncio.ensure_future(play(app))
        code = await asyncio.wait_for(app.main(options), 30)
        await user
        app.deleteLater()
        app.window.deleteLater()
        return code

    try:
        with asyncio.Runner(loop_factory=lambda: qasync.QEventLoop(qapp)) as runner:
            return runner.run(main())
    finally:
        sys.excepthook, __import__("threading").excepthook = hooks


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_chat_and_close(qapp: QApplication, paths: AppPaths) -> None:
    async def play(app: App) -> None:
        app.window.type_message("hello")
        app.window.press_send()
        await until(lambda: app.chats.generating_count == 1)
        await until(lambda: app.chats.generating_count == 0)
        app.window.close()

    assert run_app(qapp, paths, play) == 0
    store = ConversationStore(paths.conversations)
    (conversation,) = store.conversations()
    question, reply = store.messages(conversation.id).values()
    store.close()
    assert (question.content, reply.state) == ("hello", MessageState.COMPLETE)
    assert len(reply.content.split()) == 10
    # The lock is free again and the settings are there.
    assert run_app(qapp, paths, lambda app: close_at_once(app)) == 0
    assert json.loads(paths.settings.read_text())["geometry"]


async def close_at_once(app: App) -> None:
    await until(app.window.isVisible)
    app.window.close()


def test_closing_while_a_reply_streams_keeps_it(qapp: QApplication, paths: AppPaths) -> None:
    async def play(app: App) -> None:
        app.window.type_message("hello")
        app.window.press_send()
        await until(
            lambda: any(
                "token1 " in m.content for c in app.library.conversations() for m in app.chats.messages(c.id)[1:]
            )
        )
        app.window.close()

    assert run_app(qapp, paths, play, script=Script(tokens=100_000, tokens_per_second=500)) == 0
    store = ConversationStore(paths.conversations)
    reply = list(store.messages(store.conversations()[0].id).values())[-1]
    store.close()
    assert reply.state is MessageState.INTERRUPTED
    assert reply.content.startswith("token0 token1 ")


def test_ask_leaves_by_itself_with_a_picture(
    qapp: QApplication, paths: AppPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def watch(app: App) -> None:
        await until(app.window.isVisible)

    picture = tmp_path / "a.png"
    code = run_app(qapp, paths, watch, "--ask", "What?", "--screenshot", str(picture), script=Script(reply="So it is."))
    out = capsys.readouterr()
    assert (code, out.out.strip()) == (0, "So it is.")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "tokens" in out.err


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (Script(load_error="the script says so"), "The model could not be loaded: the script says so."),
        (Script(fail_after=2), "The reply failed: the script says so."),
        (Script(tokens=100_000, tokens_per_second=10), "no complete reply within 2 s"),
    ],
)
def test_ask_says_what_went_wrong(
    qapp: QApplication, paths: AppPaths, capsys: pytest.CaptureFixture[str], script: Script, sentence: str
) -> None:
    async def watch(app: App) -> None:
        await until(app.window.isVisible)

    assert run_app(qapp, paths, watch, "--ask", "What?", "--timeout", "2", script=script) == 1
    assert sentence in capsys.readouterr().err


def test_a_second_window_on_the_same_conversations_is_refused(qapp: QApplication, paths: AppPaths) -> None:
    async def play(app: App) -> None:
        with pytest.raises(TurbodeskError) as caught:
            App(paths)
        assert caught.value.failure.code is FailureCode.ALREADY_OPEN
        assert str(os.getpid()) in caught.value.failure.message
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "desktop", "--data-dir", str(paths.data)),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        _, words = await second.communicate()
        assert second.returncode == 1
        assert b"already open" in words
        assert b"Traceback" not in words
        app.window.close()

    assert run_app(qapp, paths, play) == 0


def test_settings_that_cannot_be_read_are_told(qapp: QApplication, paths: AppPaths) -> None:
    paths.settings.parent.mkdir(parents=True)
    paths.settings.write_text("{broken")

    async def play(app: App) -> None:
        await until(app.window.isVisible)
        (notice,) = app.notices.current
        assert notice.code is FailureCode.SETTINGS_NOT_USED
        assert "damaged" in notice.message
        app.window.close()

    assert run_app(qapp, paths, play) == 0
    assert (paths.config / "settings.broken.json").read_text() == "{broken"


def test_a_damaged_database_is_left_alone(paths: AppPaths) -> None:
    paths.data.mkdir(parents=True)
    paths.conversations.write_bytes(b"this is no database" * 1000)
    done = run_program(paths)
    words = done.communicate(timeout=30)[1]
    assert done.returncode == 1
    assert "is damaged" in words
    assert "Traceback" not in words
    assert paths.conversations.read_bytes() == b"this is no database" * 1000


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run_program(app_paths(tmp_path / "file" / "data"))
    words = done.communicate(timeout=30)[1]
    assert done.returncode == 1
    assert "cannot write" in words
    assert "Traceback" not in words


def run_program(paths: AppPaths) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "desktop", "--data-dir", str(paths.data)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_in_good_order(paths: AppPaths, number: signal.Signals) -> None:
    with run_program(paths) as program:
        deadline = time.monotonic() + 20
        while not (paths.log / "turbodesk.log").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        program.send_signal(number)
        words = program.communicate(timeout=20)[1]
    assert program.returncode == 0, words
    assert "Traceback" not in words
    assert paths.settings.exists()
    with sqlite3.connect(paths.conversations) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_download_goes_on_at_the_next_start(qapp: QApplication, paths: AppPaths) -> None:
    with HubServer() as server:
        server.add("someone/some-model", {"config.json": b"{}", "model.safetensors": bytes(10_000)})
        model = open_hub(HubAddress(HubKind.HUGGING_FACE, server.url)).model("someone/some-model")
        destination = paths.models / model.folder_name
        Holding.create(
            DownloadPlan(
                address=model.address,
                model_id=model.model_id,
                revision=model.revision,
                files=model.files,
                destination=str(destination),
            )
        )

        async def play(app: App) -> None:
            await until(lambda: str(destination) in app.models().shelf.entries)
            app.window.close()

        assert run_app(qapp, paths, play) == 0
        assert (destination / "model.safetensors").read_bytes() == bytes(10_000)


def test_the_start_loads_no_network_library() -> None:
    names = ("huggingface_hub", "modelscope_hub", "keyring", "urllib3", "httpx2", "requests")
    code = f"import sys, desktop.app; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_nobody_caught_reaches_the_user_and_the_log(qapp: QApplication, paths: AppPaths) -> None:
    async def play(app: App) -> None:
        await until(app.window.isVisible)
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await until(lambda: bool(app.notices.current))
        (notice,) = app.notices.current
        assert notice.code is FailureCode.INTERNAL
        assert "ZeroDivisionError" in notice.detail
        app.window.close()

    assert run_app(qapp, paths, play) == 0
    assert "ZeroDivisionError" in (paths.log / "turbodesk.log").read_text()


def test_leaving_with_unsaved_text_asks_first(
    qapp: QApplication, paths: AppPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(store: ConversationStore) -> None:
        raise error(FailureCode.DISK_FULL)

    async def play(app: App) -> None:
        await until(app.window.isVisible)
        app._writer.post(refuse)
        await until(lambda: any(notice.code is FailureCode.DISK_FULL for notice in app.notices.current))
        app.window.close()
        await until(lambda: bool(app.window.findChildren(UnsavedQuestion)))
        (question,) = app.window.findChildren(UnsavedQuestion)
        assert app.window.isVisible()
        leave = next(button for button in question.buttons() if "Leave" in button.text())
        leave.click()

    assert run_app(qapp, paths, play) == 0
    assert "could not be saved" in capsys.readouterr().err


def test_an_error_in_the_middle_still_ends_in_good_order(
    qapp: QApplication, paths: AppPaths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object) -> int:
        raise RuntimeError("surprise")

    monkeypatch.setattr("desktop.ask.Ask.run", fail)

    async def watch(app: App) -> None:
        await until(app.window.isVisible)

    assert run_app(qapp, paths, watch, "--ask", "What?") == 1
    assert "surprise" in capsys.readouterr().err
    assert paths.settings.exists()
    assert run_app(qapp, paths, close_at_once) == 0


def test_a_server_is_asked_and_comes_back_at_the_next_start(
    qapp: QApplication, paths: AppPaths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")  # not that of whoever runs the tests
    answer = stream({"content": "So it is."})
    with SmallServer(lambda asked: models("a", "b") if asked.path == "/v1/models" else answer) as server:

        async def watch(app: App) -> None:
            await until(app.window.isVisible)

        assert run_app(qapp, paths, watch, "--ask", "What?", "--checkpoint", server.address) == 0
        assert capsys.readouterr().out.strip() == "So it is."
        assert server.asked[-1].body["model"] == "a", "the first one, where none is named"

        async def connect(app: App) -> None:
            await until(lambda: app.host.is_ready)
            app.window.close()

        assert run_app(qapp, paths, connect, "--checkpoint", f"{server.address}#b") == 0

        async def chat(app: App) -> None:
            app.window.type_message("hello")
            app.window.press_send()
            await until(lambda: len(server.asked) > before)
            await until(lambda: app.chats.generating_count == 0)
            app.window.close()

        before = len(server.asked) + 1  # it is asked for its models first
        assert run_app(qapp, paths, chat) == 0
        assert server.asked[-1].body["model"] == "b"


def test_asking_does_not_change_the_model_of_the_next_window(
    qapp: QApplication, paths: AppPaths, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.symlink_to(demo_checkpoint())

    async def watch(app: App) -> None:
        await until(app.window.isVisible)

    assert run_app(qapp, paths, watch, "--ask", "What?", "--checkpoint", str(other), script=Script(reply="So.")) == 0
    assert json.loads(paths.settings.read_text())["checkpoint"] == ""


def test_a_model_without_a_chat_template_is_named(qapp: QApplication, paths: AppPaths, tmp_path: Path) -> None:
    base = tmp_path / "base-model"
    base.mkdir()
    for file in demo_checkpoint().iterdir():
        if file.name != "chat_template.jinja":
            (base / file.name).symlink_to(file)

    async def play(app: App) -> None:
        app.host.load(str(base))
        await until(lambda: bool(app.notices.current))
        (notice,) = app.notices.current
        assert notice.code is FailureCode.NO_CHAT_TEMPLATE
        assert "base-model" in notice.message
        app.host.load(str(demo_checkpoint()))
        await until(lambda: not app.notices.current)
        await until(lambda: app.host.is_ready)
        app.window.close()

    assert run_app(qapp, paths, play) == 0
    assert json.loads(paths.settings.read_text())["checkpoint"] == ""
