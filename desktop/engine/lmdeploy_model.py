"""A checkpoint loaded by LMDeploy, and how a request is put to it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from desktop.domain.context_window import PromptSize, fitted
from desktop.domain.engine_config import Backend, EngineConfig, visible_devices
from desktop.domain.errors import FailureCode, error
from desktop.domain.generation import GenerationRequest
from desktop.domain.json_schema import BEGINS_ANEW, NOT_ITS_BEGINNING, read_schema
from desktop.domain.weight_files import weight_files
from desktop.engine.backend_choice import BackendChoice, choose_backend, inspect_machine
from desktop.engine.base import ONLY_TEXT, EngineInfo
from desktop.engine.chat_prompt import ContinuingTemplate, to_lmdeploy, tools_to_lmdeploy
from desktop.engine.guidance import begins, going_on, response_format, response_format_after_reasoning
from desktop.engine.lmdeploy_config import backend_config, check_architecture, generation_config, show_cards
from desktop.engine.parser_choice import ParserChoice, choose_parsers
from desktop.engine.picture_tokens import PictureTokens
from desktop.engine.recommended_sampling import read_recommended
from desktop.engine.reply_parser import ParserFactory
from desktop.engine.reply_reader import ReplyReader

if TYPE_CHECKING:
    from lmdeploy.messages import ResponseType
    from lmdeploy.serve.core.async_engine import AsyncEngine

logger = logging.getLogger(__name__)

# Longer than any mark that opens reasoning, in tokens.
_TAIL_TOKENS = 16


@dataclass
class LMDeployModel:
    """engine: LMDeploy's, loaded. info: without the name and the time. no_images: why pictures are refused, or "".

    special_marks: whether a mark that the parser needs is a special token, which LMDeploy leaves out of the text.
    """

    engine: AsyncEngine
    info: EngineInfo
    parsers: ParserFactory
    switches: tuple[str, ...]
    arguments_as_text: bool
    special_marks: bool
    no_images: str
    pictures: PictureTokens

    async def prepare(self, request: GenerationRequest, session: Any) -> tuple[Any, ReplyReader]:
        """LMDeploy's PreprocessedRequest and the reader of its reply. Raises TurbodeskError or LMDeploy's errors."""
        try:
            config, schema = self._generation_config(request)
            if schema is not None and (begun := _begun(request)):
                await self._check_beginning(schema, begun)
            if self.no_images and any(message.images for message in request.messages):
                raise error(FailureCode.REQUEST_INVALID, reason=self.no_images)
            prepared = await self.engine.preprocess(
                to_lmdeploy(request, images=True, arguments_as_text=self.arguments_as_text),
                session,
                gen_config=config,
                tools=tools_to_lmdeploy(request.tools),
                chat_template_kwargs=self._switches(request),
            )
            return prepared, self._reader(request, prepared, schema)
        except Exception:
            self.engine.session_mgr.remove(session)
            raise

    async def _check_beginning(self, schema: Any, begun: str) -> None:
        # The matchers of LMDeploy's own engines take no text that is there already: one is made inside TurboMind's
        # native code, the other inside the PyTorch engine's loop, each for a value from its first character.
        if not self.info.continues_json:
            raise error(FailureCode.JSON_NOT_CONTINUED, reason=BEGINS_ANEW)
        if not await asyncio.to_thread(begins, schema, begun):
            raise error(FailureCode.JSON_NOT_CONTINUED, reason=NOT_ITS_BEGINNING)

    def _reader(self, request: GenerationRequest, prepared: Any, schema: Any) -> ReplyReader:
        opened = self.parsers.thinks and self._is_open(request, prepared)
        if schema is not None and (begun := _begun(request)):
            prepared.gen_config.response_format = going_on(schema, begun)
        elif schema is not None and self.parsers.thinks and (opened or request.thinking or self.parsers.reads_tokens):
            prepared.gen_config.response_format = response_format_after_reasoning(
                schema, self.parsers.reply_format, opened
            )
        # A reply that must obey a schema calls no tool.
        parser = self.parsers.make(request.tools if schema is None else (), opened)
        reader = ReplyReader(request.request_id, parser, self.parsers.bare_calls, self.parsers.marks)
        self._go_on(request, reader)
        return reader

    async def fit(self, request: GenerationRequest) -> tuple[GenerationRequest, PromptSize]:
        """The request as it is sent, see context_window, and its size. Raises whatever a template raises."""
        if not self.no_images:
            await self.pictures.count(image for message in request.messages for image in message.images)
        # In a thread: replies must not wait for a long text.
        sent, size = await asyncio.to_thread(fitted, request, self.info.context_length, self._count_tokens)
        return sent, msgspec.structs.replace(size, pictures=self._picture_tokens(sent))

    def _count_tokens(self, request: GenerationRequest) -> int:
        messages = to_lmdeploy(request, images=False, arguments_as_text=self.arguments_as_text)
        prompt = self.engine.chat_template.messages2prompt(
            messages, tools=tools_to_lmdeploy(request.tools), **self._switches(request)
        )
        if prompt is None:
            raise ValueError("the model has no chat template")
        return len(self.engine.tokenizer.encode(prompt, add_bos=True)) + self._picture_tokens(request)

    def _picture_tokens(self, request: GenerationRequest) -> int:
        return sum(self.pictures.tokens(image) for message in request.messages for image in message.images)

    def _generation_config(self, request: GenerationRequest) -> tuple[Any, Any]:
        config, schema = generation_config(request.params), None
        if request.json_schema:
            try:
                schema = read_schema(request.json_schema)
            except ValueError as problem:
                raise error(FailureCode.REQUEST_INVALID, reason=problem) from problem
            config.response_format = response_format(schema)  # and preprocess() tries to compile it
        if self.special_marks and (request.tools or self.parsers.thinks):
            config.skip_special_tokens = False
            config.spaces_between_special_tokens = False
        return config, schema

    def _switches(self, request: GenerationRequest) -> dict[str, bool]:
        return {} if request.thinking is None else dict.fromkeys(self.switches, request.thinking)

    def _is_open(self, request: GenerationRequest, prepared: Any) -> bool:
        last = request.messages[-1]
        if last.role == "assistant" and (last.reasoning or last.content):
            return not last.content
        prompt = prepared.inputs.get("prompt")
        if not isinstance(prompt, str):  # some vision models give the tokens alone
            ids = list(prepared.inputs["input_ids"])[-_TAIL_TOKENS:]
            prompt = self.engine.tokenizer.decode(ids, skip_special_tokens=False)
        return self.parsers.reply_format.is_open(prompt)

    def _go_on(self, request: GenerationRequest, reader: ReplyReader) -> None:
        last = request.messages[-1]
        if last.role != "assistant":
            return
        if self.parsers.reads_tokens:
            said = self.parsers.reply_format.beginning(last.reasoning, last.content, "")
            reader.go_on_from(said, self.engine.tokenizer.encode(said, add_bos=False))
        else:
            reader.go_on_from(last.content or last.reasoning)


def _begun(request: GenerationRequest) -> str:
    """The beginning of the answer that the request goes on from."""
    last = request.messages[-1]
    return last.content if last.role == "assistant" else ""


def load_model(checkpoint: str, config: EngineConfig, report: Callable[..., None]) -> LMDeployModel:
    """Import LMDeploy and load; takes seconds to minutes, so it belongs in a thread.

    report: called with a stage and, where it is known, a fraction. Raises TurbodeskError or whatever LMDeploy raises.
    """
    # Local folders only: nothing below may ask a hub for anything.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    report("Starting LMDeploy")
    from lmdeploy.archs import get_model_arch
    from lmdeploy.turbomind.supported_models import is_supported

    chosen = weight_files(os.listdir(checkpoint))
    if chosen.pickles and not config.trust_remote_code:  # for whoever comes past the window's own check
        raise error(FailureCode.PICKLE_WEIGHTS, file=chosen.index or chosen.files[0])
    architecture, hf_config = get_model_arch(checkpoint, trust_remote_code=config.trust_remote_code)
    show_cards(config)
    machine = inspect_machine((visible_devices(config) or (0,))[0])
    turbomind_runs_it = is_supported(checkpoint, trust_remote_code=config.trust_remote_code)
    choice = choose_backend(config.backend, machine, architecture, turbomind_runs_it)
    check_architecture(choice.backend, architecture, config)
    report(f"Loading the weights ({choice.reason})")
    engine, no_images = _build(checkpoint, config, choice, report)
    template = _template_of(engine)
    parser_choice = choose_parsers(architecture, str(getattr(hf_config, "model_type", "")), template)
    try:
        parsers = ParserFactory(parser_choice)
    except Exception:
        logger.warning("replies are shown as they are, their parser cannot be used", exc_info=True)
        parser_choice = ParserChoice()
        parsers = ParserFactory(parser_choice)
    continuing = ContinuingTemplate(engine.chat_template, parsers.reply_format)
    engine.chat_template = engine.prompt_processor.chat_template = continuing
    info = EngineInfo(
        backend=choice.backend,
        device=choice.device,
        reason=choice.reason,
        model_name="",
        context_length=engine.session_len,
        pid=os.getpid(),
        no_images=no_images,
        calls_tools=parsers.calls_tools,
        thinks=parsers.thinks,
        can_choose_thinking=bool(parser_choice.switches),
        recommended=read_recommended(checkpoint),
        continues_json=choice.backend is Backend.CPU,
    )
    special = [str(token) for token in getattr(engine.tokenizer.model.model, "all_special_tokens", ())]
    return LMDeployModel(
        engine=engine,
        info=info,
        parsers=parsers,
        switches=parser_choice.switches,
        arguments_as_text="is string" in json.dumps(template),
        special_marks=any(token in mark for mark in parsers.marks for token in special),
        no_images=no_images,
        pictures=PictureTokens(engine),
    )


def _build(
    checkpoint: str, config: EngineConfig, choice: BackendChoice, report: Callable[..., None]
) -> tuple[AsyncEngine, str]:
    """LMDeploy's engine, and why it takes no pictures, or ""."""
    from lmdeploy.archs import get_task
    from lmdeploy.serve.core.async_engine import AsyncEngine

    settings = backend_config(choice.backend, config)
    name = "pytorch" if choice.backend is Backend.PYTORCH else "turbomind"
    task, pipeline_class = get_task(
        name, checkpoint, trust_remote_code=config.trust_remote_code, backend_config=settings
    )
    no_images = "" if task == "vlm" else ONLY_TEXT
    sees_here = task == "vlm" and choice.backend is Backend.CPU
    if sees_here:
        pipeline_class = AsyncEngine  # the other one asks CUDA for the free memory
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False  # LMDeploy sets it: half a picture would pass for a whole one

    class LocalEngine(pipeline_class):  # type: ignore[misc, valid-type]  # LMDeploy has no types
        """LMDeploy's engine with our backend where there is no card, and with out-of-memory told apart."""

        def _build_turbomind(
            self, model_path: str, backend_config: Any = None, trust_remote_code: bool = False, **kwargs: Any
        ) -> Any:
            if choice.backend is not Backend.CPU:
                return super()._build_turbomind(model_path, backend_config, trust_remote_code, **kwargs)
            from desktop.engine.cpu_backend import CpuBackend

            return CpuBackend(
                model_path,
                backend_config,
                on_progress=lambda fraction: report(f"Loading the weights ({choice.reason})", fraction),
                trust_remote_code=trust_remote_code,
            )

        @staticmethod
        def _request_error_from_status(status: ResponseType) -> Exception:
            from lmdeploy.messages import ResponseType

            problem: Exception = AsyncEngine._request_error_from_status(status)
            # LMDeploy calls this an internal error, like everything it has no word for.
            problem.kv_cache_exhausted = status is ResponseType.OUT_OF_MEMORY  # type: ignore[attr-defined]
            return problem

    engine = LocalEngine(checkpoint, backend=name, backend_config=settings, trust_remote_code=config.trust_remote_code)
    if sees_here:
        from desktop.engine.cpu_pictures import add_pictures

        no_images = add_pictures(engine, checkpoint, config.trust_remote_code)
    return engine, no_images


def _template_of(engine: AsyncEngine) -> str | dict[str, str]:
    """The text of the chat template, or of several by their names; "" for one that LMDeploy writes in Python."""
    return getattr(getattr(engine.chat_template, "tokenizer", None), "chat_template", None) or ""
