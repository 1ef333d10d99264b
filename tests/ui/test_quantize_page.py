"""The Quantize page in the real window: from the 16-bit demo model to an AWQ one and its verdict, with real jobs."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QRadioButton

from desktop.domain.calibration import (
    BuiltInSet,
    CalibrationSource,
    CalibrationStatistics,
    Conversations,
    ShippedText,
    TextFile,
)
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import FailureCode, failure
from desktop.domain.evaluation import Evaluation, Grade
from desktop.domain.quantization import QuantizationMethod, QuantizationPlan
from desktop.engine.scripted_engine import Script
from desktop.jobs.job_record import JobRecord, JobStatus
from desktop.jobs.messages import JobStep, LayerError, Progress, Quantized, QuantizeJob
from desktop.services.quantization_desk import QuantizationDesk
from desktop.storage.checkpoint_reader import read_checkpoint
from desktop.storage.paths import demo_checkpoint
from desktop.storage.settings import Settings
from desktop.ui.quantize.bars import BarFigure, Bars
from desktop.ui.quantize.job_view import JobView
from desktop.ui.quantize.job_words import duration, status_words, step_words
from desktop.ui.quantize.plan_form import PlanForm
from desktop.ui.quantize.quantize_page import QuantizePage
from tests.domain.test_evaluation import found as evaluation
from tests.services.readings import reading
from tests.ui.conftest import Desk

DEMO = str(demo_checkpoint())
GUIDE = demo_checkpoint().parent / "demo-guide"


def wait(desk: Desk, true: Callable[[], object], seconds: float = 90) -> None:
    # In short steps: a long wait for events starves the threads of Python.
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        desk.bot.wait(20)


def open_page(desk: Desk) -> tuple[QuantizePage, PlanForm]:
    """The page with the demo model in it, after LMDeploy was asked."""
    desk.models.adviser.show_reading(reading(cards=0))
    desk.models.shelf.set_folders((str(demo_checkpoint().parent),))
    desk.window.show_page("Quantize")
    page = desk.window._pages.page("Quantize")
    assert isinstance(page, QuantizePage)
    wait(desk, lambda: page._form._methods.method is not None)
    return page, page._form


def conversations(folder: Path) -> Path:
    """The guide's questions and answers, which the demo model knows, as JSON Lines."""
    lines = []
    for language in ("en", "zh"):
        guide = tomllib.loads((GUIDE / f"guide.{language}.toml").read_text(encoding="utf-8"))
        for topic in guide["topic"]:
            for question in topic["questions"][:6]:
                answer = {"role": "assistant", "content": topic["answer"].strip()}
                said = {"messages": [{"role": "user", "content": question}, answer]}
                lines.append(json.dumps(said, ensure_ascii=False))
    file = folder / "guide.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_from_sixteen_bits_to_a_verdict(desk: Desk, tmp_path: Path) -> None:
    """The demo model over text that it knows: the verdict agrees with its answers."""
    page, form = open_page(desk)
    assert form._methods.method is QuantizationMethod.AWQ
    form._text.choose_file(str(conversations(tmp_path)))
    form._text.set_numbers(32, 256, 1)
    form._text._count.click()
    wait(desk, lambda: "of 32 samples" in form._text._figures.text())
    assert "kept for the verdict" in form._text._figures.text()
    assert form._start.isEnabled()
    form._place.folder.setText(str(tmp_path / "made"))
    form._on_method_chosen()
    form._start.click()
    runner = desk.models.quantizer.runner
    (record,) = runner.jobs
    assert page._stack.currentWidget() is page._view
    wait(desk, lambda: runner.job(record.id).status is JobStatus.DONE)
    made = tmp_path / "made" / "demo-checkpoint-AWQ"
    assert read_checkpoint(made).quantization.method == "awq"
    assert page._view._chat.isEnabled()
    assert page._view._layers.isVisible()
    wait(desk, lambda: runner.jobs[0].status is JobStatus.DONE and runner.jobs[0].evaluation is not None)
    found = runner.jobs[0].evaluation
    assert isinstance(found, Evaluation)
    # It answers every prompt as before, and so says the verdict.
    same = [found.parted(number) is None for number in range(len(found.prompts))]
    assert sum(same) >= len(same) - 1
    assert found.grade in (Grade.INDISTINGUISHABLE, Grade.GOOD)
    assert found.original.perplexity.value < 20
    kept = made / "turbodesk-evaluation.json"
    wait(desk, kept.exists)
    assert msgspec.json.decode(kept.read_bytes(), type=Evaluation) == found
    page._show_job(runner.jobs[0].id)
    view = page._view._evaluation
    assert view._grade.text() == found.grade.value.capitalize()
    assert view._answers.rowCount() == len(found.prompts)
    target = tmp_path / "verdict.json"
    view.export(str(target))
    assert msgspec.json.decode(target.read_bytes(), type=Evaluation) == found
    view.export(str(tmp_path / "verdict.md"))
    assert "# demo-checkpoint-AWQ against demo-checkpoint" in (tmp_path / "verdict.md").read_text(encoding="utf-8")

    # One click chats with it.
    page._show_job(record.id)
    desk.script = Script()
    page._view._chat.click()
    desk.until(lambda: desk.host.is_ready)
    assert desk.host.status.path == str(made)
    assert desk.window.chat_page.isVisible()


def test_the_smallest_window_holds_the_width_of_it(desk: Desk) -> None:
    page, form = open_page(desk)
    desk.window.resize(desk.window.minimumSize())
    choice = form._text._choice
    for index in range(choice.count()):
        choice.setCurrentIndex(index)
        desk.bot.wait(10)
        assert form.horizontalScrollBar().maximum() == 0, choice.currentText()
    page._on_new_comparison()
    desk.bot.wait(10)
    assert page._comparison.horizontalScrollBar().maximum() == 0


def test_it_runs_on_the_card_that_is_set_for_models(desk: Desk) -> None:
    page, form = open_page(desk)
    desk.models.adviser.show_reading(reading(cards=2))
    page.set_config(EngineConfig(devices=(1,)))
    form._refresh()
    assert (form.plan.card, form.plan.card_uuid) == (1, "GPU-1")
    assert "of video memory on card 1, " in form._needs.text()
    page.set_config(EngineConfig())
    form._refresh()
    assert (form.plan.card, form.plan.card_uuid) == (0, "GPU-0")
    desk.models.adviser.show_reading(reading(cards=1))
    form._refresh()
    assert "of video memory;" in form._needs.text()


def test_a_set_of_lmdeploys_can_be_chosen(desk: Desk) -> None:
    page, form = open_page(desk)
    page.set_hub(Settings(hub="mirror", hub_mirror="mirror.example.org"))
    choice = form._text._choice
    choice.setCurrentIndex(choice.findData("pileval"))
    form._text._on_source_chosen(choice.currentIndex())
    assert form._text.sources == (BuiltInSet("pileval", "https://mirror.example.org"),)
    assert choice.currentText() == "Fetch Pile validation, mixed text and code"
    form._copy_command.click()
    assert "--calib-dataset pileval" in QGuiApplication.clipboard().text()
    form._text.show_statistics(
        CalibrationStatistics(
            pieces=0,
            duplicates=0,
            held_out=0,
            characters=0,
            tokens=4096,
            counted_all=False,
            samples=2,
            wanted=2,
            sequence_length=2048,
        )
    )
    assert form._text._figures.text().startswith("4,096 tokens, 2 of 2 samples. The verdict is about")
    assert page._comparison._text._choice.findData("pileval") < 0


@pytest.mark.parametrize("chosen", [(BuiltInSet("c4"),), (TextFile("/a.txt"),)])
def test_a_verdict_is_about_text_with_a_part_that_was_held_out(
    desk: Desk, chosen: tuple[CalibrationSource, ...]
) -> None:
    made = Quantized(path="/models/made", seconds=1, weight_bytes=1, peak_host=0, peak_card=0)
    record = JobRecord(id=1, title="AWQ of demo", work=QuantizeJob(plan=PLAN, calibration=chosen), quantized=made)
    runner = desk.models.quantizer.runner
    number = desk.models.quantizer.compare(record, EngineConfig())
    work = runner.job(number).work
    fetched = isinstance(chosen[0], BuiltInSet)
    assert work.original.text.sources == work.other.text.sources == ((ShippedText(),) if fetched else chosen)
    runner.stop(number)
    wait(desk, lambda: runner.job(number).status in (JobStatus.STOPPED, JobStatus.FAILED))


def test_what_cannot_begin_says_why(desk: Desk, tmp_path: Path) -> None:
    _, form = open_page(desk)
    assert form._start.isEnabled()
    for name in ("", "a/b", ".hidden"):
        form._place.name.setText(name)
        form._refresh()
        assert not form._start.isEnabled()
        assert "needs a name" in form._warnings.text()
    (tmp_path / "there").mkdir()
    form._place.folder.setText(str(tmp_path))
    form._place.name.setText("there")
    form._refresh()
    assert "already something" in form._warnings.text()
    form._place.name.setText("other")
    form._refresh()
    assert form._start.isEnabled()
    gptq = next(button for button in form._methods.findChildren(QRadioButton) if button.text().startswith("GPTQ"))
    assert not gptq.isEnabled()
    assert "not installed" in gptq.accessibleDescription()
    form._copy_command.click()
    assert QGuiApplication.clipboard().text().startswith("CUDA_VISIBLE_DEVICES= lmdeploy lite auto_awq ")
    form._copy_python.click()
    compile(QGuiApplication.clipboard().text(), "job.py", "exec")


def test_too_little_room_offers_what_fits(desk: Desk) -> None:
    _, form = open_page(desk)
    # A machine with 2 GiB in which 0.75 are used: 4,096 samples of 2,048 tokens do not fit.
    little = reading(cards=0)
    host = msgspec.structs.replace(little.host, total=2 * 2**30, used=3 * 2**28, available=5 * 2**28)
    desk.models.adviser.show_reading(msgspec.structs.replace(little, host=host))
    form._text.set_numbers(4096, 2048, 1)
    assert "and 1.2 GB are free" in form._warnings.text()
    assert form._start.isEnabled()  # nobody is kept from trying
    form._use.click()
    assert form._text.numbers < (4096, 2048, 1)
    assert not form._warnings.isVisible()


def test_the_chats_of_the_user_are_a_text(desk: Desk) -> None:
    _, form = open_page(desk)
    desk.load(Script(tokens=8))
    desk.window.show_page("Chat")
    desk.ask("Hello there")
    desk.idle()
    desk.window.show_page("Quantize")
    index = form._text._choice.findData("chats")
    form._text._choice.setCurrentIndex(index)
    form._text._choice.activated.emit(index)
    assert not form._start.isEnabled()
    wait(desk, lambda: form._text.sources)
    (source,) = form._text.sources
    assert isinstance(source, Conversations)
    ((first, second),) = source.conversations
    assert (first.role, first.content) == ("user", "Hello there")
    assert second.role == "assistant"
    assert form._start.isEnabled()


def test_kept_layers_are_planned_with_their_price(desk: Desk) -> None:
    page, form = open_page(desk)
    page._on_keep_requested(DEMO, ("model.layers.0.mlp.down_proj",), 0.25)
    assert form.plan.kept == ("model.layers.0.mlp.down_proj",)
    words = form._kept_line.text()
    assert words.startswith("1 layer in 16 bit: model.layers.0.mlp.down_proj. The weights take 1")
    assert " kB more, and 25% of the error of all layers goes (forecast)." in words
    assert form._place.name.text() == "demo-checkpoint-AWQ-mixed"


def test_two_models_or_two_precisions_can_be_compared(desk: Desk) -> None:
    page, _ = open_page(desk)
    page._on_new_comparison()
    form = page._comparison
    assert page._stack.currentWidget() is form
    assert not form._start.isEnabled()
    assert "Choose two models" in form._problem.text()
    form._bits[1].setCurrentIndex(form._bits[1].findData(4))
    assert "CPU keeps its cache in 16 bit" in form._problem.text()
    desk.models.adviser.show_reading(reading(cards=1))
    form._refresh()
    assert form._start.isEnabled()
    form._start.click()
    (record,) = desk.models.quantizer.runner.jobs
    assert record.work.original.config.quant_policy == 0
    assert record.work.other.config.quant_policy == 4
    assert record.work.other.name == "demo-checkpoint, KV 4"
    desk.models.quantizer.runner.stop(record.id)
    wait(desk, lambda: desk.models.quantizer.runner.job(record.id).status is JobStatus.STOPPED)


def test_a_model_of_the_list_can_be_quantized(desk: Desk) -> None:
    open_page(desk)
    desk.window.show_page("Models")
    page = desk.window._pages.page("Models")
    wait(desk, lambda: page._list_model.count)
    page._select(DEMO)
    assert page._details._quantize.isVisible()
    page._details._quantize.click()
    assert desk.window._pages.page("Quantize").isVisible()


PLAN = QuantizationPlan(source=DEMO, target="/nowhere/made", method=QuantizationMethod.AWQ, device="cpu")


def record(**changes: object) -> JobRecord:
    return JobRecord(id=1_700_000_000_000_000, title="AWQ of demo", work=QuantizeJob(plan=PLAN), **changes)


@pytest.fixture
def view(qtbot) -> JobView:
    made = JobView()
    qtbot.addWidget(made)
    made.resize(700, 600)
    made.show()
    return made


def test_a_running_job_tells_its_step_and_time(view: JobView) -> None:
    progress = Progress(step=JobStep.CALIBRATING, fraction=0.25, seconds_left=250, layer=3, layers=28)
    view.show_job(record(status=JobStatus.RUNNING, progress=progress))
    assert view._state.text() == "25% · Calibrating, layer 3 of 28, about 4 min left (forecast)"
    assert view._bar.value() == 250
    assert view._stop.isVisible()
    assert not view._remove.isVisible()
    view.add_log_line(record().id, "layers.0, samples: 128")
    view.add_log_line(7, "of another job")
    assert view._log_button.isVisible()
    assert view._log.toPlainText() == "layers.0, samples: 128"


def test_a_failed_job_shows_the_failure(view: JobView) -> None:
    problem = failure(FailureCode.JOB_NO_ROOM, reason="2 GB are needed and 1 GB is free")
    view.show_job(record(status=JobStatus.FAILED, failure=problem))
    assert view._card.failure == problem
    view.show_job(record(status=JobStatus.QUEUED))
    assert view._card is None


def test_layers_can_be_kept(view: JobView, qtbot) -> None:
    errors = tuple(LayerError(name=f"model.layers.{number}.mlp", error=number / 100) for number in range(9))
    made = Quantized(path="/nowhere/made", seconds=8.0, weight_bytes=2**20, peak_host=2**30, layer_errors=errors)
    view.show_job(record(status=JobStatus.DONE, quantized=made, layer_errors=errors))
    assert list(view._ticks) == [f"model.layers.{number}.mlp" for number in (8, 7, 6, 5, 4)]
    assert not view._keep.isEnabled()
    assert "is not there any more" in view._result.text()
    assert not view._chat.isEnabled()
    view._ticks["model.layers.7.mlp"].setChecked(True)
    with qtbot.waitSignal(view.keep_requested, timeout=1000) as asked:
        view._keep.click()
    assert asked.args == [DEMO, ("model.layers.7.mlp",), pytest.approx(49 / 204)]


def test_words_of_a_job() -> None:
    seconds = (0.2, 59, 61, 3500, 3700)
    assert [duration(one) for one in seconds] == ["1 s", "59 s", "1 min", "58 min", "1 h 2 min"]
    assert step_words(None) == "Starting"
    assert status_words(record()) == "waits for its turn"
    assert status_words(record(status=JobStatus.RUNNING)) == "starting"
    done = record(status=JobStatus.DONE, started_at=10.0, ended_at=100.0, evaluation=evaluation())
    assert status_words(done).startswith("good, took ")
    assert status_words(record(status=JobStatus.ALONE)) == "goes on by itself"


def test_bars_tell_what_is_pointed_at(qtbot) -> None:
    bars = Bars("Errors")
    qtbot.addWidget(bars)
    bars.resize(300, 120)
    bars.show()
    bars.show_figures([BarFigure(number % 7, f"bar {number}") for number in range(2000)], "left", "right")
    told: list[str] = []
    bars.pointed_at.connect(told.append)
    qtbot.keyClick(bars, Qt.Key.Key_End)
    assert told[-1] == "bar 1999"
    qtbot.keyClick(bars, Qt.Key.Key_Left)
    assert told[-1] == "bar 1998"
    qtbot.mouseMove(bars, bars.rect().center())
    assert bars._figures[bars.current].value == 6  # the largest of those in this column
    with qtbot.waitSignal(bars.chosen, timeout=1000):
        qtbot.keyClick(bars, Qt.Key.Key_Return)
    assert not bars.grab().isNull()
    bars.show_figures([])
    assert bars.current == -1
    assert not bars.grab().isNull()


def test_the_desk_counts_only_what_was_asked_last(desk: Desk, qtbot) -> None:
    quantizer = desk.models.quantizer
    assert isinstance(quantizer, QuantizationDesk)
    with qtbot.waitSignal(quantizer.count_failed, timeout=60_000) as failed:
        quantizer.count(DEMO, (ShippedText(),), PLAN)
        quantizer.count(DEMO, (TextFile("/nowhere/at/all.txt"),), PLAN)
    assert failed.args[0].code is FailureCode.CALIBRATION_UNUSABLE


def test_one_layer_is_tried_for_the_time_of_all(desk: Desk) -> None:
    _, form = open_page(desk)
    form._text.set_numbers(8, 128, 1)
    form._try.click()
    assert not form._try.isEnabled()
    wait(desk, lambda: "in all (forecast)" in form._said.text())
    assert form._try.isEnabled()
