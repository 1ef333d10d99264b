"""Makes calibration sequences of a model's own tokens out of pieces of text. For a job's process: imports torch."""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import torch

from desktop.domain.calibration import CalibrationSource, CalibrationStatistics, LengthBin, built_in_set
from desktop.domain.counting import counted
from desktop.domain.errors import FailureCode, error
from desktop.jobs.built_in_sets import read_built_in_set
from desktop.jobs.pieces import READ_LIMIT, Conversation, Pieces, read_pieces

_BINS = (1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_BATCH = 64  # pieces that are tokenized at once


class CalibrationSet(NamedTuple):
    """samples: int64 tensors of [1, sequence_length] tokens."""

    samples: list[torch.Tensor]
    statistics: CalibrationStatistics


def make_calibration_set(
    sources: Sequence[CalibrationSource],
    tokenizer: Any,
    samples: int,
    sequence_length: int,
    seed: int = 0,
    count_all: bool = False,
) -> CalibrationSet:
    """Shuffle the pieces, put their tokens one after the other, and cut them into sequences that share no token.

    tokenizer: of Transformers. The same sources, tokenizer, numbers and seed give the same sequences. Stops reading
    when there are enough, unless count_all. Raises TurbodeskError (calibration_unusable) when there is not even one.
    """
    if chosen := built_in_set(sources):
        made = read_built_in_set(chosen, tokenizer, samples, sequence_length, seed)
        none = Pieces(calibration=(), held_out=(), duplicates=0)
        statistics = _statistics(none, [sequence_length] * len(made), made, samples, sequence_length, False)
        return _checked(CalibrationSet(made, msgspec.structs.replace(statistics, lengths=())))
    pieces = read_pieces(sources)
    order = list(pieces.calibration)
    random.Random(seed).shuffle(order)
    wanted = samples * sequence_length
    tokens: list[int] = []
    lengths: list[int] = []
    for start in range(0, len(order), _BATCH):
        if len(tokens) >= wanted and not count_all:
            break
        for ids in token_lists(order[start : start + _BATCH], tokenizer):
            tokens += ids
            lengths.append(len(ids))
    made = [
        torch.tensor([tokens[start : start + sequence_length]], dtype=torch.int64)
        for start in range(0, min(wanted, len(tokens) - sequence_length + 1), sequence_length)
    ]
    statistics = _statistics(pieces, lengths, made, samples, sequence_length, len(lengths) == len(order))
    return _checked(CalibrationSet(made, statistics))


def _checked(found: CalibrationSet) -> CalibrationSet:
    if not found.samples:
        reason = (
            f"it has {counted(found.statistics.tokens, 'token')} and one sequence alone takes "
            f"{found.statistics.sequence_length:,}; add text or choose shorter sequences"
        )
        raise error(FailureCode.CALIBRATION_UNUSABLE, what="The text", reason=reason)
    return found


def token_lists(pieces: Sequence[str | Conversation], tokenizer: Any) -> list[list[int]]:
    """The tokens of each piece, conversations in the model's chat template, plain text with an empty line after it.

    Raises TurbodeskError (calibration_unusable) when the template cannot be applied.
    """
    texts = [piece + "\n\n" if isinstance(piece, str) else _in_template(piece, tokenizer) for piece in pieces]
    found: list[list[int]] = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return found


def _in_template(conversation: Conversation, tokenizer: Any) -> str:
    if not getattr(tokenizer, "chat_template", None):
        reason = "this model has no chat template; use plain text"
        raise error(FailureCode.CALIBRATION_UNUSABLE, what="A conversation", reason=reason)
    messages = [{"role": one.role, "content": one.content} for one in conversation]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False))
    except Exception as problem:  # a template is a program, and raises what it likes
        reason = f"the model's chat template refuses it ({str(problem).splitlines()[0] if str(problem) else problem!r})"
        raise error(FailureCode.CALIBRATION_UNUSABLE, what="A conversation", reason=reason[:300]) from problem


def tokens_digest(samples: Sequence[torch.Tensor]) -> str:
    """SHA-256 of the tokens of all sequences in their order, each as 8 bytes, little-endian."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(sample.to(torch.int64).contiguous().numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def _statistics(
    pieces: Pieces,
    lengths: Sequence[int],
    made: Sequence[torch.Tensor],
    wanted: int,
    sequence_length: int,
    counted_all: bool,
) -> CalibrationStatistics:
    bins = [0] * len(_BINS)
    for length in lengths:
        if length:
            bins[bisect_right(_BINS, length) - 1] += 1
    tokens = sum(lengths)
    warnings = []
    if len(made) < wanted:
        warnings.append(
            f"The text has {counted(tokens, 'token')}, enough for {len(made)} of {wanted} samples of "
            f"{sequence_length:,} tokens; more text makes a better calibration."
        )
    warnings += [f"Only the first {READ_LIMIT >> 20} MB of {name} were read." for name in pieces.cut]
    return CalibrationStatistics(
        pieces=len(pieces.calibration),
        duplicates=pieces.duplicates,
        held_out=len(pieces.held_out),
        characters=sum(
            len(piece) if isinstance(piece, str) else sum(len(one.content) for one in piece)
            for piece in pieces.calibration
        ),
        tokens=tokens,
        counted_all=counted_all,
        samples=len(made),
        wanted=wanted,
        sequence_length=sequence_length,
        lengths=tuple(LengthBin(least, count) for least, count in zip(_BINS, bins, strict=True)),
        sha256=tokens_digest(made) if made else "",
        warnings=tuple(warnings),
    )
