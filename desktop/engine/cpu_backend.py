"""LMDeploy's engine interface over Transformers, for machines without a card.

An AsyncEngine whose _build_turbomind returns a CpuBackend gets chat templates, sessions and text from LMDeploy and the
tokens from here. With device="cuda" it is the Transformers baseline on a card.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import psutil
import torch
from lmdeploy.messages import EngineOutput, GenerationConfig, ResponseType, ScheduleMetrics, TurbomindEngineConfig

from desktop.engine.cpu_decoders import make_decoder, parameters_of, threads_for
from desktop.engine.cpu_guidance import Guide, GuideMaker
from desktop.engine.cpu_loading import load_model
from desktop.engine.cpu_scheduler import Request, Scheduler

logger = logging.getLogger(__name__)

DEFAULT_BATCH = 16
DEFAULT_SESSION = 4096
# A piece of a prompt is what two cores compute in about a fifth of a second, so that other replies go on meanwhile.
# It is the same for every request: pieces of other sizes would round differently.
_PIECE_OPERATIONS = 1e10
_LEAST_PIECE = 32


class CpuBackend:
    """The object AsyncEngine keeps as its engine.

    engine_config: LMDeploy's, with max_batch_size and session_len filled in. dtype, session_len, max_batch_size,
    max_prefill_token_num, cache_max_entry_count (share of the free memory) and hf_overrides are used; what
    belongs to TurboMind's kernels (quant_policy, tp, prefix caching) is not. on_progress: 0 to 1 while loading.
    Raises TurbodeskError.
    """

    def __init__(
        self,
        model_path: str,
        engine_config: TurbomindEngineConfig | None = None,
        device: str = "cpu",
        on_progress: Callable[[float], None] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        config = engine_config or TurbomindEngineConfig()
        model = load_model(model_path, config, device, on_progress or (lambda _: None), trust_remote_code)
        config.max_batch_size = config.max_batch_size or DEFAULT_BATCH
        longest: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        config.session_len = config.session_len or longest or DEFAULT_SESSION
        self.engine_config = config
        head = model.get_output_embeddings() or model.get_input_embeddings()
        self._guides = GuideMaker(model_path, head.weight.shape[0], trust_remote_code)
        self._session_len: int = config.session_len
        self._sees = "pixel_values" in parameters_of(model)
        piece: int = config.max_prefill_token_num
        weights = sum(parameter.numel() for parameter in model.parameters())
        if device == "cpu":
            piece = min(piece, max(_LEAST_PIECE, int(_PIECE_OPERATIONS / (2 * weights))))
        free = psutil.virtual_memory().available if device == "cpu" else torch.cuda.mem_get_info(device)[0]
        cache_bytes = int(free * config.cache_max_entry_count)
        threads = torch.get_num_threads()
        torch.set_num_threads(threads_for(weights, threads))
        with torch.inference_mode():
            decoder = make_decoder(model, config.max_batch_size, self._session_len, cache_bytes)
        torch.set_num_threads(threads)
        self._scheduler: Scheduler | None = Scheduler(model, decoder, config.max_batch_size, max(1, piece))

    def create_instance(self, cuda_stream_id: int = 0) -> CpuInstance:
        """A handle that runs one request at a time."""
        return CpuInstance(self)

    def close(self) -> None:
        """End every request with CANCEL, end the thread, and let go of the model. May be called again."""
        if self._scheduler is not None:
            self._scheduler.close()
        self._scheduler = None

    async def get_health_status(self) -> dict[str, Any]:
        """LMDeploy's health record: alive, message, schedule_metrics."""
        if self._scheduler is None or not self._scheduler.alive:
            return {"alive": False, "message": "The CPU engine is closed.", "schedule_metrics": None}
        return {"alive": True, "message": "", "schedule_metrics": self._scheduler.metrics()}

    def get_schedule_metrics(self) -> ScheduleMetrics:
        """Counters of the scheduler; cache_usage is a share of the KV cache, 0 where its size is not known."""
        return ScheduleMetrics() if self._scheduler is None else self._scheduler.metrics()

    async def sleep(self, level: int = 1) -> None:
        """Nothing: only the end of the process gives the memory back for certain."""

    def wakeup(self, tags: list[str] | None = None) -> None:
        """Nothing, see sleep()."""

    def end_session(self, session_id: int) -> bool:
        """True: nothing is kept between requests."""
        return True

    async def make_guide(self, config: GenerationConfig) -> Guide | None:
        """What keeps the reply to config.response_format; None where there is none. See GuideMaker.make()."""
        if not config.response_format:
            return None
        stops = () if config.ignore_eos else config.stop_token_ids or ()
        return await asyncio.to_thread(self._guides.make, config.response_format, stops)

    def start(
        self,
        prompt: list[int],
        config: GenerationConfig,
        stream: bool,
        pictures: Sequence[dict[str, Any]] = (),
        guide: Guide | None = None,
    ) -> Request | ResponseType:
        """Start a request in the running event loop, or say why it cannot run. pictures: see PicturePrompt."""
        if self._scheduler is None:
            return ResponseType.CANCEL
        if not 0 < len(prompt) < self._session_len:
            return ResponseType.INPUT_LENGTH_ERROR
        if (
            (pictures and not self._sees)
            or config.logits_processors
            or config.output_last_hidden_state
            or config.logprob_start_len >= 0
            or config.with_cache
        ):
            return ResponseType.NOT_SUPPORTED
        limit = min(config.max_new_tokens, self._session_len - len(prompt))
        request = Request(prompt, config, stream, limit, guide, pictures)
        self._scheduler.submit(request)
        return request


class CpuInstance:
    """What AsyncEngine takes from its pool to run one request."""

    def __init__(self, backend: CpuBackend) -> None:
        self._backend = backend
        self._request: Request | None = None

    async def async_stream_infer(
        self,
        session_id: int,
        input_ids: Sequence[int],
        gen_config: GenerationConfig | None = None,
        stream_output: bool = False,
        multimodal: Sequence[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[EngineOutput]:
        """Outputs with new token ids; the last one's status is FINISH, CANCEL or an error.

        Without stream_output there is only the last one, with all ids. Closing the iterator cancels the request.
        """
        config = gen_config or GenerationConfig()
        try:
            guide = await self._backend.make_guide(config)
        except Exception:
            logger.warning("guided decoding was refused", exc_info=True)
            yield EngineOutput(ResponseType.NOT_SUPPORTED, [])
            return
        request = self._backend.start(list(input_ids), config, stream_output, multimodal or (), guide)
        if isinstance(request, ResponseType):
            yield EngineOutput(request, [])
            return
        self._request = request
        try:
            while True:
                output = await request.outputs.get()
                yield output
                if output.status is not ResponseType.SUCCESS:
                    return
        finally:
            request.cancelled = True
            self._request = None

    async def async_cancel(self, session_id: int | None = None) -> None:
        """End the running request at its next token."""
        if self._request is not None:
            self._request.cancelled = True

    async def async_end(self, session_id: int) -> None:
        """Nothing: there is no state between requests."""
