"""Runs the requests of the CPU engine: one thread owns the model and gives every running request a token in turn."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from lmdeploy.messages import (
    EngineEvent,
    EngineOutput,
    EventType,
    GenerationConfig,
    RequestMetrics,
    ResponseType,
    ScheduleMetrics,
)

from desktop.engine.cpu_decoders import CacheFullError, Decoder, forward, new_cache, threads_for
from desktop.engine.cpu_guidance import Guide
from desktop.engine.cpu_loading import is_out_of_memory
from desktop.engine.cpu_pictures import PicturePrompt
from desktop.engine.cpu_sampling import Sampler

logger = logging.getLogger(__name__)

_JOIN_SECONDS = 30.0


class Request:
    """One request: made in the event loop, then the worker's; `cancelled` is the only thing both write."""

    def __init__(
        self,
        prompt: list[int],
        config: GenerationConfig,
        stream: bool,
        limit: int,
        guide: Guide | None = None,
        pictures: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.outputs: asyncio.Queue[EngineOutput] = asyncio.Queue()
        self.cancelled = False
        self.prompt = prompt
        self.pictures = pictures  # as LMDeploy prepared them
        self.picture_prompt: PicturePrompt | None = None
        self.config = config
        self.stream = stream
        self.limit = limit  # tokens of the reply
        self.stops = frozenset(() if config.ignore_eos else config.stop_token_ids or ())
        self.sampler = Sampler(config, prompt, guide)
        self.arrived_at = time.time()
        self.scheduled_at = 0.0
        self.cache: Any = None  # while the prompt is read
        self.read = 0  # tokens of the prompt that are in the cache
        self.drawn = 0
        self.last_token = 0
        self.last_logits: Any = None
        self.unsent: list[int] = []
        self.logprobs: list[dict[int, float]] = []
        self.logits: list[torch.Tensor] = []  # [tokens, vocabulary] each
        self.loss = 0.0
        self._told_events = False

    def output(self, status: ResponseType) -> EngineOutput:
        """What is new since the last output; logits, as from TurboMind, since the beginning."""
        metrics = RequestMetrics(token_timestamp=time.time())
        if not self._told_events:
            self._told_events = True
            metrics.engine_events.append(EngineEvent(EventType.QUEUED, self.arrived_at))
            if self.scheduled_at:
                metrics.engine_events.append(EngineEvent(EventType.SCHEDULED, self.scheduled_at))
        output = EngineOutput(
            status,
            self.unsent,
            logprobs=self.logprobs or None,
            logits=torch.cat(self.logits) if self.logits else None,
            req_metrics=metrics,
            ce_loss=self.loss if self.config.return_ppl and status is ResponseType.FINISH else None,
        )
        self.unsent, self.logprobs = [], []
        return output


class Scheduler:
    """The worker thread. piece: tokens of a prompt that are read at once, in between two tokens of the others."""

    def __init__(self, model: Any, decoder: Decoder, max_batch: int, piece: int) -> None:
        self._model = model
        self._decoder = decoder
        self._max_batch = max_batch
        self._piece = piece
        self._weights = sum(parameter.numel() for parameter in model.parameters())
        self._threads = torch.get_num_threads()
        self._lock = threading.Condition()  # guards the next two; the rest belongs to the worker
        self._arrived: deque[Request] = deque()
        self._closing = False
        self._prefilling: Request | None = None
        self._running: list[Request] = []  # by row of the decoder
        self._outbox: list[tuple[Request, EngineOutput]] = []
        self._tick = 0
        self._worker = threading.Thread(target=self._work, name="cpu-engine", daemon=True)
        self._worker.start()

    @property
    def alive(self) -> bool:
        """Whether requests are taken."""
        return self._worker.is_alive()

    def submit(self, request: Request) -> None:
        """Hand a request to the worker, from its event loop; when closing, it ends with CANCEL at once."""
        with self._lock:
            if not self._closing:
                self._arrived.append(request)
                self._lock.notify()
                return
        request.outputs.put_nowait(EngineOutput(ResponseType.CANCEL, []))

    def metrics(self) -> ScheduleMetrics:
        """Counters; cache_usage is a share of the KV cache, 0 where its size is not known."""
        decoder = self._decoder
        return ScheduleMetrics(
            active_seqs=len(self._running) + (self._prefilling is not None),
            waiting_seqs=len(self._arrived),
            cache_usage=sum(decoder.lengths) / decoder.capacity if decoder.capacity else 0.0,
            scheduler_tick=self._tick,
        )

    def close(self) -> None:
        """End every request with CANCEL and end the thread."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._worker.join(_JOIN_SECONDS)

    def _work(self) -> None:
        try:
            with torch.inference_mode():
                while self._wait_for_work():
                    self._tick += 1
                    self._drop_cancelled()
                    self._prefill()
                    self._decode()
                    self._post()
        finally:
            with self._lock:
                self._closing = True
                waiting, self._arrived = list(self._arrived), deque()
            prefilling = [self._prefilling] if self._prefilling else []
            for request in self._running + prefilling + waiting:
                self._end(request, ResponseType.CANCEL)
            self._running, self._prefilling = [], None
            self._post()

    def _wait_for_work(self) -> bool:
        with self._lock:
            while not (self._closing or self._arrived or self._running or self._prefilling):
                self._lock.wait()
            return not self._closing

    def _drop_cancelled(self) -> None:
        with self._lock:
            gone = [request for request in self._arrived if request.cancelled]
            for request in gone:
                self._arrived.remove(request)
        if self._prefilling and self._prefilling.cancelled:
            gone.append(self._prefilling)
            self._prefilling = None
        for request in gone:
            self._end(request, ResponseType.CANCEL)
        for row in range(len(self._running) - 1, -1, -1):
            if self._running[row].cancelled:
                self._end(self._leave(row), ResponseType.CANCEL)

    def _prefill(self) -> None:
        """Read one piece of one prompt; after its last piece draw the first token and join the batch."""
        request = self._prefilling
        if request is None:
            request = self._prefilling = self._admit()
            if request is None:
                return
        try:
            if request.cache is None:
                request.cache = new_cache(self._model)
                if request.pictures:
                    request.picture_prompt = PicturePrompt(self._model, request.prompt, request.pictures)
            self._read_piece(request)
            if request.read < len(request.prompt):
                return
            self._prefilling = None
            logits, request.last_logits = request.last_logits, None
            if self._take(request, logits, None):
                shift = request.picture_prompt.shift if request.picture_prompt else None
                self._decoder.join(request.cache, len(request.prompt), shift)
                self._running.append(request)
            request.cache = request.picture_prompt = None
            request.pictures = ()
        except Exception as failed:
            self._prefilling = None
            self._end(request, _status_of(failed))

    def _admit(self) -> Request | None:
        with self._lock:
            if not self._arrived or len(self._running) >= self._max_batch:
                return None
            capacity = self._decoder.capacity
            if self._running and capacity and sum(self._decoder.lengths) + len(self._arrived[0].prompt) > capacity:
                return None
            request = self._arrived.popleft()
        request.scheduled_at = time.time()
        return request

    def _read_piece(self, request: Request) -> None:
        config, prompt, start = request.config, request.prompt, request.read
        every = config.return_ppl or config.output_logits == "all"
        end = min(len(prompt), start + self._piece)
        more: dict[str, Any] = {}
        if request.picture_prompt:
            end = request.picture_prompt.piece_end(start, end)
            more = request.picture_prompt.inputs(start, end)
        self._use_threads(end - start)
        logits = forward(self._model, prompt[start:end], request.cache, all_logits=every, **more)
        request.read = end
        if config.output_logits == "all":
            request.logits.append(logits.float().cpu())
        if config.return_ppl:
            targets = torch.tensor(prompt[start + 1 : end + 1], device=logits.device)
            scored = logits[: len(targets)].float()
            request.loss += float(torch.nn.functional.cross_entropy(scored, targets, reduction="sum"))
        request.last_logits = logits[-1]

    def _decode(self) -> None:
        """One token for every running request."""
        if not self._running:
            return
        self._use_threads(len(self._running))
        try:
            logits = self._decoder.step([request.last_token for request in self._running])
        except CacheFullError:
            longest = max(range(len(self._running)), key=self._decoder.lengths.__getitem__)
            self._end(self._leave(longest), ResponseType.OUT_OF_MEMORY)
            return
        except Exception as failed:
            while self._running:
                self._end(self._leave(0), _status_of(failed))
            return
        likeliest: list[int] = logits.argmax(1).tolist()
        for row in range(len(self._running) - 1, -1, -1):
            request = self._running[row]
            try:
                goes_on = self._take(request, logits[row], likeliest[row])
            except Exception as failed:
                goes_on = False
                self._end(request, _status_of(failed))
            if not goes_on:
                self._leave(row)

    def _take(self, request: Request, logits: torch.Tensor, likeliest: int | None) -> bool:
        """Draw a token from [vocabulary] logits and send it; False when it was the last one."""
        config = request.config
        if request.limit == 0:
            self._end(request, ResponseType.FINISH)
            return False
        if likeliest is None or not request.sampler.plain:
            token = request.sampler.draw(logits, request.drawn)
        else:
            token = likeliest
        request.last_token = token
        if config.logprobs:
            request.logprobs.append(request.sampler.logprobs(logits, token))
        if config.output_logits == "generation" or (config.output_logits and request.drawn):
            request.logits.append(logits[None].float().cpu())
        request.drawn += 1
        request.unsent.append(token)
        if request.drawn >= request.limit or token in request.stops or request.sampler.over:
            self._end(request, ResponseType.FINISH)
            return False
        if request.stream:
            self._outbox.append((request, request.output(ResponseType.SUCCESS)))
        return True

    def _leave(self, row: int) -> Request:
        request = self._running[row]
        self._decoder.leave(row)
        self._running[row] = self._running[-1]
        self._running.pop()
        return request

    def _end(self, request: Request, status: ResponseType) -> None:
        self._outbox.append((request, request.output(status)))

    def _post(self) -> None:
        """Hand all new outputs to their event loops, one wake-up a loop."""
        loops: dict[asyncio.AbstractEventLoop, list[tuple[Request, EngineOutput]]] = {}
        for item in self._outbox:
            loops.setdefault(item[0].loop, []).append(item)
        self._outbox = []
        for loop, items in loops.items():
            try:
                loop.call_soon_threadsafe(_deliver, items)
            except RuntimeError:  # the loop is closed: nobody waits for these any more
                for request, _ in items:
                    request.cancelled = True

    def _use_threads(self, tokens: int) -> None:
        threads = threads_for(tokens * self._weights, self._threads)
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)


def _deliver(items: Sequence[tuple[Request, EngineOutput]]) -> None:
    for request, output in items:
        request.outputs.put_nowait(output)


def _status_of(failed: Exception) -> ResponseType:
    if isinstance(failed, CacheFullError) or is_out_of_memory(failed):
        logger.error("the KV cache is out of memory: %s", failed)
        return ResponseType.OUT_OF_MEMORY
    logger.error("a forward pass failed", exc_info=failed)
    return ResponseType.INTERNAL_ENGINE_ERROR
