"""Runs two models over the same text, one after the other, and says how far the second is from the first.

Each runs in a process of its own, because only the end of a process gives its memory back. The first leaves its
log-probabilities in a file, four bytes for each token and each word of the vocabulary, and the second reads them.
Imports torch.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy
import torch

from desktop.domain.engine_config import Backend
from desktop.domain.errors import FailureCode, TurbodeskError, error
from desktop.domain.evaluation import Evaluation, Interval, Place, Side
from desktop.domain.generation import (
    ChatMessage,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    SamplingParams,
    TextDelta,
)
from desktop.domain.memory_reading import with_engine
from desktop.engine.lmdeploy_engine import LMDeployEngine
from desktop.hardware.host import resident_bytes
from desktop.hardware.nvml import NvmlReader
from desktop.jobs import divergence
from desktop.jobs.calibration import token_lists
from desktop.jobs.messages import Compared, CompareJob, JobEvent, JobStep, Measured, MeasureJob
from desktop.jobs.pieces import read_pieces
from desktop.jobs.progress import ProgressMeter
from desktop.storage.folder_listing import list_folder

LOG_PROBABILITIES, TOKENS = "log-probabilities.f32", "tokens.i64"
_FEWEST_TOKENS = 64
_WORST = 24
_BEFORE_TOKENS = 60
_STEPS = (JobStep.STARTING, JobStep.READING_TEXT, JobStep.LOADING, JobStep.ASKING, JobStep.READING_ALONG)

Tell = Callable[[JobEvent], None]


def measure(job: MeasureJob, tell: Tell) -> Measured:
    """The first of the two; leaves its log-probabilities in job.work. Raises TurbodeskError."""
    return asyncio.run(_Run(job, tell).measure())


def compare(job: CompareJob, tell: Tell) -> Compared:
    """The second, against what measure() left. Raises TurbodeskError."""
    return asyncio.run(_Run(job.other, tell).compare(job))


class _Run:
    """One model over the text and the prompts."""

    def __init__(self, job: MeasureJob, tell: Tell) -> None:
        self._job = job
        self._text = job.text
        self._work = Path(job.work)
        self._meter = ProgressMeter(_STEPS, tell)

    async def measure(self) -> Measured:
        tokens = self._read_text()
        vocabulary = _vocabulary(self._job.checkpoint)
        size = len(tokens) * vocabulary * 4
        free = shutil.disk_usage(self._work).free
        if size > free * 0.95:
            reason = f"comparing takes {size / 2**30:.1f} GB for a while and {free / 2**30:.1f} GB are free"
            raise error(FailureCode.JOB_NO_ROOM, reason=reason)
        tokens.numpy().tofile(self._work / TOKENS)
        shape = (_judged(len(tokens), self._text.window), vocabulary)
        kept = numpy.memmap(self._work / LOG_PROBABILITIES, numpy.float32, "w+", shape=shape)
        nll = []

        def keep(first: int, log_p: torch.Tensor, targets: torch.Tensor) -> None:
            kept[first : first + len(targets)] = log_p.numpy()
            nll.append(divergence.nll(log_p, targets))

        side = await self._run(tokens, vocabulary, keep)
        kept.flush()
        perplexity = divergence.perplexity(torch.cat(nll))
        return Measured(msgspec.structs.replace(side, perplexity=perplexity))

    async def compare(self, job: CompareJob) -> Compared:
        tokens = self._read_text()
        first = torch.from_numpy(numpy.fromfile(self._work / TOKENS, numpy.int64))
        if not torch.equal(tokens, first):
            reason = "the two models cut the text into different tokens; only models with the same tokenizer compare"
            raise error(FailureCode.EVALUATION_IMPOSSIBLE, reason=reason)
        count = _judged(len(tokens), self._text.window)
        vocabulary = os.path.getsize(self._work / LOG_PROBABILITIES) // 4 // count
        kept = numpy.memmap(self._work / LOG_PROBABILITIES, numpy.float32, "r", shape=(count, vocabulary))
        judged: list[divergence.Judged] = []

        def judge(start: int, log_q: torch.Tensor, targets: torch.Tensor) -> None:
            log_p = torch.from_numpy(kept[start : start + len(targets)].copy())
            judged.append(divergence.judge(log_p, log_q, targets))

        side = await self._run(tokens, vocabulary, judge)
        found = divergence.Judged(*(torch.cat(parts) for parts in zip(*judged, strict=True)))
        tokenizer = _tokenizer(self._job.checkpoint, self._job.config.trust_remote_code)
        return Compared(
            Evaluation(
                id=time.time_ns() // 1000,
                original=job.original,
                other=msgspec.structs.replace(side, perplexity=divergence.perplexity(found.nll)),
                text_name=self._text.name,
                text_hash=hashlib.sha256(tokens.numpy().astype("<i8").tobytes()).hexdigest(),
                tokens=count,
                window=self._text.window,
                kl=divergence.mean(found.kl),
                kl_999=divergence.quantile(found.kl, 0.999),
                top1=divergence.mean(found.expected == found.chosen),
                kl_of=tuple(found.kl.tolist()),
                worst=_worst_places(found, tokens, self._text.window, tokenizer),
                prompts=self._job.prompts,
                versions={name: version(name) for name in ("lmdeploy", "torch", "transformers")},
            )
        )

    def _read_text(self) -> torch.Tensor:
        """The tokens to be judged: what calibration never sees, in whole windows where there is more than one."""
        self._meter.begin(JobStep.READING_TEXT)
        pieces = read_pieces(self._text.sources).held_out
        tokenizer = _tokenizer(self._job.checkpoint, self._job.config.trust_remote_code)
        lists = token_lists(pieces, tokenizer) if pieces else []
        tokens = [token for ids in lists for token in ids][: self._text.tokens]
        if len(tokens) < _FEWEST_TOKENS:
            reason = f"of it {len(tokens)} tokens are kept for judging and {_FEWEST_TOKENS} are needed; add text"
            raise error(FailureCode.EVALUATION_IMPOSSIBLE, reason=reason)
        if len(tokens) > self._text.window:
            tokens = tokens[: len(tokens) // self._text.window * self._text.window]
        return torch.tensor(tokens, dtype=torch.int64)

    async def _run(
        self, tokens: torch.Tensor, vocabulary: int, take: Callable[[int, torch.Tensor, torch.Tensor], None]
    ) -> Side:
        """take: given, window by window, the place of the first judged token, log-probabilities and what follows."""
        job, window = self._job, self._text.window
        self._meter.begin(JobStep.LOADING)
        config = msgspec.structs.replace(
            job.config,
            enable_prefix_caching=False,  # LMDeploy gives no logits with it
            session_len=max(window + 8, job.reply_tokens + 1024),
        )
        engine = LMDeployEngine()
        try:
            info = await engine.load(job.checkpoint, config, lambda progress: None)
            replies, speeds, delays = await self._ask(engine)
            memory = _memory(info.backend)
            parts = tokens.split(window)
            self._meter.begin(JobStep.READING_ALONG, work=len(parts))
            place = 0
            for part in parts:
                logits = await engine.logits(part.tolist())
                log_p = divergence.log_probabilities(logits[:-1].cpu(), vocabulary)
                if not bool(torch.isfinite(log_p.max(-1).values).all()):
                    reason = "it gives numbers that are not finite, so nothing can be compared"
                    raise error(FailureCode.EVALUATION_IMPOSSIBLE, reason=reason)
                take(place, log_p, part[1:])
                place += len(part) - 1
                self._meter.advance()
        finally:
            await engine.close()
        return Side(
            path=job.checkpoint,
            name=job.name,
            signature=list_folder(job.checkpoint).signature,
            config=config,
            backend=info.backend,
            device=info.device,
            perplexity=Interval(0.0, 0.0, 0.0),
            tokens_per_second=statistics.median(speeds) if speeds else None,
            time_to_first_token=statistics.median(delays) if delays else None,
            disk_bytes=list_folder(job.checkpoint).disk_bytes,
            memory_bytes=memory,
            replies=tuple(replies),
        )

    async def _ask(self, engine: LMDeployEngine) -> tuple[list[str], list[float], list[float]]:
        """Greedy replies, their tokens a second and their times to the first token, after one to warm up."""
        job = self._job
        self._meter.begin(JobStep.ASKING, work=len(job.prompts) + 1)
        params = SamplingParams(temperature=0.0, max_new_tokens=job.reply_tokens)
        replies, speeds, delays = [], [], []
        for number, prompt in enumerate((*job.prompts[:1], *job.prompts)):
            request = GenerationRequest(request_id=f"{number}", messages=(ChatMessage("user", prompt),), params=params)
            text = ""
            async for event in engine.generate(request):
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, GenerationFailed):
                    raise TurbodeskError(event.failure)
                elif isinstance(event, GenerationFinished) and number:
                    replies.append(text)
                    if event.stats.completion_tokens > 1:
                        speeds.append(event.stats.tokens_per_second)
                        delays.append(event.stats.time_to_first_token)
            self._meter.advance()
        return replies, speeds, delays


def _judged(tokens: int, window: int) -> int:
    """Tokens that something comes before in their window."""
    return tokens - -(-tokens // window)


def _worst_places(found: divergence.Judged, tokens: torch.Tensor, window: int, tokenizer: Any) -> tuple[Place, ...]:
    places = []
    for index in torch.argsort(found.kl, descending=True)[:_WORST].tolist():
        position = index + index // (window - 1) + 1 if len(tokens) > window else index + 1
        start = max(position - _BEFORE_TOKENS, position // window * window)
        expected, chosen = int(found.expected[index]), int(found.chosen[index])
        places.append(
            Place(
                position=position,
                before=tokenizer.decode(tokens[start:position].tolist()),
                token=tokenizer.decode([int(tokens[position])]),
                expected=tokenizer.decode([expected]),
                chosen=tokenizer.decode([chosen]),
                kl=float(found.kl[index]),
            )
        )
    return tuple(places)


def _memory(backend: Backend) -> int | None:
    if backend is Backend.CPU:
        return resident_bytes([os.getpid()]) or None
    cards, _ = NvmlReader().read()
    held = [card.engine_bytes for card in with_engine(cards, {os.getpid()})]
    return None if None in held else max((size for size in held if size), default=None)


def _tokenizer(checkpoint: str, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as problem:
        raise error(FailureCode.TOKENIZER_BROKEN, reason=problem) from problem


def _vocabulary(checkpoint: str) -> int:
    """Entries of its logits, which may be more than the tokenizer has."""
    from desktop.storage.checkpoint_reader import read_config

    size = read_config(checkpoint).vocab_size
    if not size:
        raise error(FailureCode.EVALUATION_IMPOSSIBLE, reason="config.json does not say how large its vocabulary is")
    return size
