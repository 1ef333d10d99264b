"""A model and what was made of it here, side by side: every figure as it was measured, or none."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from desktop.domain.evaluation import Evaluation, Side


class MadeModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was quantized here. source: the folder of its original, source_name: what that is called.

    method: in words. evaluation: the newest comparison with the original; None where there was none.
    """

    path: str
    source: str
    source_name: str
    method: str
    evaluation: Evaluation | None = None


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One row. method: in words, "" for the original. disk_bytes: None where its folder is not there.

    side: as it was measured, evaluation: beside the original; None where it was not. incomparable: the figures are of
    another text, or beside another state of the original, than those of the other rows.
    """

    name: str
    method: str
    disk_bytes: int | None
    side: Side | None = None
    evaluation: Evaluation | None = None
    incomparable: bool = False


def versions(
    source: str, original: tuple[str, int | None], made: Iterable[tuple[str, int, MadeModel]]
) -> list[Version]:
    """The original first, then what was made of it, by name. What the newest comparison was over counts for all.

    source: the folder of the original. original: its name, and its bytes on the disk, None where it is not there.
    made: name, bytes and what is known of any models that were made here.
    """
    mine = sorted((one for one in made if one[2].source == source), key=lambda one: (one[0].lower(), one[2].path))
    found = [known.evaluation for _, _, known in mine if known.evaluation is not None]
    newest = max(found, key=lambda one: one.id, default=None)
    name, size = original
    rows = [Version(name=name, method="", disk_bytes=size, side=newest.original if newest is not None else None)]
    for name, size, known in mine:
        one = known.evaluation
        row = Version(name=name, method=known.method, disk_bytes=size)
        if one is not None and newest is not None:
            bits = one.other.config.quant_policy
            row = msgspec.structs.replace(
                row,
                method=f"{known.method}, KV cache in {bits} bits" if bits else known.method,
                side=one.other,
                evaluation=one,
                incomparable=_measured_over(one) != _measured_over(newest),
            )
        rows.append(row)
    return rows


def _measured_over(found: Evaluation) -> tuple[str, int, str, int]:
    """What comparisons must share for their figures to compare: the text, its windows, the original as it was."""
    return found.text_hash, found.window, found.original.signature, found.original.config.quant_policy
