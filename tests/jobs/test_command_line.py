"""The command that is offered for copying means the same to LMDeploy's own command line."""

from __future__ import annotations

import shlex

import pytest
from lmdeploy.cli.cli import CLI
from lmdeploy.cli.lite import SubCliLite

from desktop.domain.quantization import QuantizationMethod, QuantizationPlan, command_line, lite_arguments

M = QuantizationMethod


@pytest.fixture(scope="module", autouse=True)
def _commands() -> None:
    SubCliLite.add_parsers()


@pytest.mark.parametrize("method", M)
def test_lmdeploy_reads_the_command(method: M) -> None:
    plan = QuantizationPlan(
        source="/my models/a",
        target="/my models/b",
        method=method,
        samples=32,
        sequence_length=512,
        batch_size=4,
        trust_remote_code=True,
    )
    program, *words = shlex.split(command_line(plan))
    assert program == "lmdeploy"
    found = vars(CLI.parser.parse_args(words))
    assert (found["model"], found["work_dir"]) == (plan.source, plan.target)
    for name, value in lite_arguments(plan).items():
        assert found[name] == value, name
    assert found.get("w_sym", False) is False
