"""What is written beside quantized weights: a model card, the figures as JSON, the calibration tokens, the licence."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from desktop.domain.calibration import CalibrationStatistics, Conversations, built_in_set
from desktop.domain.quantization import command_line
from desktop.jobs.made_model import RECORD_FILE
from desktop.jobs.messages import LayerError, QuantizeJob
from desktop.storage.model_card import read_summary

_LICENSE_NAMES = ("license", "licence", "copying", "notice")
_LIBRARIES = ("lmdeploy", "transformers", "torch", "safetensors")


class QuantizationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe and the figures of one quantization, as they stand in RECORD_FILE.

    source_digest: SHA-256 of the source's config.json and of the names and sizes of its weights files. versions: of
    the libraries. seconds: until the result was checked. checked: what of it, in words.
    """

    job: QuantizeJob
    source_digest: str
    versions: dict[str, str]
    seconds: float
    checked: str
    source_bytes: int
    weight_bytes: int
    calibration: CalibrationStatistics | None
    calibration_file: str
    layer_errors: tuple[LayerError, ...]


def write_calibration(folder: Path, samples: Sequence[torch.Tensor], sha256: str) -> str:
    """The tokens, a line of JSON for each sequence, in a file named after their hash; returns its name."""
    name = f"calibration-{sha256[:16]}.jsonl"
    with (folder / name).open("w", encoding="utf-8") as file:
        for sample in samples:
            file.write(json.dumps({"input_ids": sample[0].tolist()}, separators=(",", ":")) + "\n")
    return name


def write_card(folder: Path, record: QuantizationRecord) -> None:
    """README.md, RECORD_FILE, and copies of the source's licence files."""
    source = Path(record.job.plan.source)
    names = os.listdir(source)
    for name in names:
        if name.lower().startswith(_LICENSE_NAMES) and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    # Conversations are left out: their tokens stand in a file of their own, which can be taken away.
    sources = tuple(one for one in record.job.calibration if not isinstance(one, Conversations))
    plan = msgspec.structs.replace(record.job.plan, card_uuid="")  # the serial number of somebody's card
    job = msgspec.structs.replace(record.job, calibration=sources, plan=plan)
    (folder / RECORD_FILE).write_bytes(
        msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(record, job=job)), indent=1) + b"\n"
    )
    (folder / "README.md").write_text(_card(record, source, names), encoding="utf-8")


def source_digest(folder: Path, files: Sequence[Path]) -> str:
    """See QuantizationRecord."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(files):
        digest.update(f"\n{path.name} {path.stat().st_size}".encode())
    return digest.hexdigest()


def library_versions() -> dict[str, str]:
    """Of those that decide the numbers."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _card(record: QuantizationRecord, source: Path, names: list[str]) -> str:
    plan, facts = record.job.plan, record.job.plan.facts
    summary = read_summary(source, names)
    head: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    facts_of_source = {
        "license": summary.license,
        "license_name": summary.license_name,
        "license_link": summary.license_link,
        "language": list(summary.languages),
    }
    head |= {key: value for key, value in facts_of_source.items() if value}
    if record.job.source_name:
        head |= {"base_model": record.job.source_name, "base_model_relation": "quantized"}
    # JSON is YAML, and quotes whatever needs it.
    lines = ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()), "---", ""]
    name = record.job.source_name or source.name
    lines += [f"# {name}, {facts.name}", "", f"Quantized with Turbodesk. {facts.engine}", ""]
    lines += ["| | |", "|---|---|", f"| source | `{name}` |"]
    if record.job.revision:
        lines.append(f"| revision | `{record.job.revision}` |")
    lines += [
        f"| source, SHA-256 of its config.json and weight sizes | `{record.source_digest}` |",
        f"| method | {facts.name} |",
        f"| group size | {plan.group_size} |" if facts.bits == 4 else f"| weights | {plan.method.value} |",
        f"| weights | {record.weight_bytes:,} bytes, {record.weight_bytes / record.source_bytes:.1%} of the source |",
        f"| made in | {record.seconds:.0f} s on {'the CPU' if plan.device == 'cpu' else 'a card'} |",
        f"| made with | {', '.join(f'{name} {version}' for name, version in record.versions.items())} |",
    ]
    lines.append(f"| checked | {record.checked} |")
    if plan.kept:
        lines.append(f"| left in 16 bits | {', '.join(plan.kept)} |")
    if record.calibration is not None:
        text = record.calibration
        lines += [
            f"| calibration | {text.samples} sequences of {text.sequence_length} tokens, batch {plan.batch_size}, seed "
            f"{plan.seed} |",
            f"| calibration, SHA-256 of its tokens | `{text.sha256}` |",
        ]
    lines += ["", *_errors(record.layer_errors)]
    lines += ["The nearest command of LMDeploy, which reads calibration text from its own sets only:", ""]
    chosen = built_in_set(record.job.calibration)
    # Without the folders of this machine.
    shown = msgspec.structs.replace(plan, source=name, target=Path(plan.target).name)
    return "\n".join([*lines, "```", command_line(shown, chosen.name if chosen else ""), "```", ""])


def _errors(found: Sequence[LayerError]) -> list[str]:
    if not found:
        return []
    worst = sorted(found, key=lambda one: one.error, reverse=True)[:5]
    of = "weights" if worst[0].of_weights else "outputs"
    lines = [f"Layers with the largest relative error of their {of}, measured while quantizing:", ""]
    lines += ["| layer | error |", "|---|---|", *(f"| `{one.name}` | {one.error:.2%} |" for one in worst)]
    return [*lines, f"| mean of all {len(found)} | {sum(one.error for one in found) / len(found):.2%} |", ""]
