"""The Models page on models that were made here: the verdict, the way to the report, the versions side by side."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from desktop.domain.evaluation import Evaluation, verdict
from desktop.jobs.job_record import JobRecord, JobStatus, write_records
from desktop.jobs.made_model import EVALUATION_FILE, keep_with_model
from desktop.storage.paths import demo_checkpoint
from desktop.ui.models.models_list_model import Role
from desktop.ui.models.models_page import ModelsPage
from desktop.ui.quantize.quantize_page import QuantizePage
from tests.domain.test_evaluation import found
from tests.jobs.test_made_model import verdict_on, write_made
from tests.services.readings import reading
from tests.ui.conftest import Desk
from tests.ui.test_models_page import choose, opened
from tests.ui.test_quantize_page import record, wait


class Made:
    """A folder with an original, and two models that were made of it, one of them with a verdict."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.original = root / "demo"
        shutil.copytree(demo_checkpoint(), self.original)
        self.judged, self.unjudged = self._make("demo-AWQ"), self._make("demo-AWQ-2")
        self.verdict = verdict_on(self.judged, str(self.original))
        keep_with_model(self.verdict)

    def _make(self, name: str) -> Path:
        shutil.copytree(demo_checkpoint(), self.root / name)
        return write_made(self.root / name, str(self.original))


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "models")


def page_of(desk: Desk, made: Made) -> ModelsPage:
    page = opened(desk, made.root)
    desk.until(lambda: desk.models.made.made(str(made.unjudged)) is not None)
    return page


def rows(page: ModelsPage) -> list[list[str]]:
    table = page._details._versions.table
    return [[table.item(row, column).text() for column in range(7)] for row in range(table.rowCount())]


def test_the_verdict_is_shown_where_the_model_is(desk: Desk, made: Made) -> None:
    page = page_of(desk, made)
    choose(desk, page, "demo-AWQ")
    shown = page._details._verdict
    assert shown.isVisible()
    assert (shown._grade.text(), shown._words.text()) == ("Good", verdict(made.verdict))
    assert page._list.currentIndex().data(Role.GRADE) == "good"
    figures = {shown._form.itemAt(row, shown._form.ItemRole.LabelRole).widget().text() for row in range(5)}
    assert figures == {"Perplexity", "KL divergence", "Same token", "Bytes", "Compared"}
    said = [shown._form.itemAt(row, shown._form.ItemRole.FieldRole).widget().text() for row in range(5)]
    assert said[0] == "8.40 (8.10 to 8.60), the original's 8.00 (7.80 to 8.20)"
    assert "over own text" in said[4]
    (original, judged, unjudged) = rows(page)
    assert [row[0] for row in (original, judged, unjudged)] == ["demo", "demo-AWQ", "demo-AWQ-2"]
    assert original[1:7:2] == ["original", "8.00", "–"]
    assert judged[1:2] + judged[3:] == ["good", "8.40", "0.0200", "95.0%", "61.2"]
    assert unjudged[1:2] + unjudged[3:] == ["not compared", "–", "–", "–", "–"]
    choose(desk, page, "demo")
    assert not shown.isVisible()
    assert len(rows(page)) == 3


def test_the_report_opens_from_the_job_or_from_the_model(desk: Desk, made: Made) -> None:
    page = page_of(desk, made)
    choose(desk, page, "demo-AWQ")
    page._details._verdict._report.click()
    quantize = desk.window._pages.page("Quantize")
    assert isinstance(quantize, QuantizePage)
    assert quantize._stack.currentWidget() is quantize._report
    assert quantize._report._title.text() == "AWQ compared with Qwen3 | 8B"
    assert quantize._report.evaluation._grade.text() == "Good"
    wait(desk, lambda: quantize._form._methods.method is not None)  # LMDeploy was asked
    # With its job in the list that is shown.
    runner = desk.models.quantizer.runner
    done = record(status=JobStatus.DONE, evaluation=made.verdict)
    runner._folder.mkdir(parents=True, exist_ok=True)
    write_records(runner._folder / "jobs.json", [done])
    runner.start()
    desk.window.show_page("Models")
    page._details._verdict._report.click()
    assert quantize._stack.currentWidget() is quantize._view
    assert quantize._view._record == done


def test_one_that_was_not_compared_leads_to_the_comparison(desk: Desk, made: Made) -> None:
    desk.models.adviser.show_reading(reading(cards=0))
    page = page_of(desk, made)
    choose(desk, page, "demo-AWQ-2")
    shown = page._details._verdict
    assert shown._grade.text() == "Not compared yet"
    assert not shown._report.isVisible()
    shown._compare.click()
    form = desk.window._pages.page("Quantize")._comparison
    assert form.isVisible()
    assert [model.currentData() for model in form._models] == [str(made.original), str(made.unjudged)]
    assert form._start.isEnabled()
    form._start.click()
    runner = desk.models.quantizer.runner
    (job,) = runner.jobs
    assert isinstance(job, JobRecord)
    assert (job.work.original.checkpoint, job.work.other.checkpoint) == (str(made.original), str(made.unjudged))
    runner.stop(job.id)
    desk.until(lambda: runner.job(job.id).status is JobStatus.STOPPED)
    page = desk.window._pages.page("Quantize")
    wait(desk, lambda: page._form._methods.method is not None)  # LMDeploy was asked


def test_a_verdict_is_seen_as_soon_as_it_is_there(desk: Desk, made: Made) -> None:
    desk.models.shelf._poll_seconds = 0.1
    page = page_of(desk, made)
    choose(desk, page, "demo-AWQ-2")
    poor = msgspec.structs.replace(verdict_on(made.unjudged, str(made.original)), kl=found(kl=0.5).kl)
    poor = msgspec.structs.replace(poor, id=poor.id + 1, text_hash="cd")
    keep_with_model(poor)
    shown = page._details._verdict
    desk.until(lambda: shown._grade.text() == "Poor")
    assert [row[1] for row in rows(page)] == ["original", "good *", "poor"]
    assert "does not compare" in page._details._versions._note.text()
    (made.unjudged / EVALUATION_FILE).unlink()
    desk.until(lambda: shown._grade.text() == "Not compared yet")
    assert page._list.currentIndex().data(Role.GRADE) is None


def test_without_the_original_nothing_can_be_compared(desk: Desk, made: Made) -> None:
    shutil.rmtree(made.original)
    page = page_of(desk, made)
    choose(desk, page, "demo-AWQ-2")
    shown = page._details._verdict
    assert not shown._compare.isEnabled()
    assert str(made.original) in shown._words.text()
    assert rows(page)[0][2] == "not there"
    assert isinstance(desk.models.made.made(str(made.judged)).evaluation, Evaluation)
