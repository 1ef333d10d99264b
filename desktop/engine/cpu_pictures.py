"""Pictures for the CPU engine: LMDeploy prepares them, Transformers' model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from desktop.engine.cpu_decoders import parameters_of
from desktop.engine.lmdeploy_config import CPU_READS_PICTURES
from desktop.engine.lmdeploy_failures import first_line

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine


def add_pictures(engine: AsyncEngine, checkpoint: str, trust_remote_code: bool) -> str:
    """Let LMDeploy's engine over a CpuBackend take pictures; why it cannot, or "".

    In the way of LMDeploy's PyTorch engine, which is given pixels: its TurboMind way runs the model's vision part a
    second time beside ours, and asks CUDA for the free memory.
    """
    from lmdeploy.serve.processors import MultimodalProcessor
    from lmdeploy.vl.engine import ImageEncoder

    if engine.arch not in CPU_READS_PICTURES:
        return f"The CPU engine runs {engine.arch} without pictures, pictures need an NVIDIA card"
    try:
        settings: Any = SimpleNamespace(dtype="auto", device_type="cpu")  # for "cuda" it asks a card
        encoder = ImageEncoder(checkpoint, "pytorch", backend_config=settings, trust_remote_code=trust_remote_code)
    except Exception as problem:
        return f"This model reads only text, its files for preparing pictures cannot be used ({first_line(problem)})"
    encoder.model.set_mm_feature_dtype(torch.float32)  # PicturePrompt makes them what the model computes with
    engine.prompt_processor = MultimodalProcessor(
        engine.tokenizer, engine.chat_template, vl_encoder=encoder, backend="pytorch"
    )
    return ""


class PicturePrompt:
    """A prompt with pictures: what is given to the model with each piece of it.

    A picture is one piece, because the model takes its pixels together with all of its tokens. With rotary positions
    in three dimensions (Qwen-VL) a picture takes fewer positions than tokens. The model would remember by how many for
    whatever it is asked next, by another request too, so it is told every position. shift: what to add to the number of
    a token behind the prompt for its position; None where the model counts by itself.
    """

    def __init__(self, model: Any, prompt: list[int], pictures: Sequence[dict[str, Any]]) -> None:
        """pictures: LMDeploy's, by their place in the prompt. Their tokens in `prompt` become the model's own."""
        self._pictures = pictures
        self._spans = [_span(picture) for picture in pictures]
        kinds = torch.zeros(1, len(prompt), dtype=torch.int)  # 1: of a picture
        for start, end in self._spans:
            kinds[0, start:end] = 1
            prompt[start:end] = [model.config.image_token_id] * (end - start)
        self._model = model
        self._positions: torch.Tensor | None = None  # [3, 1, tokens]
        self.shift: int | None = None
        if hasattr(model.base_model, "get_rope_index"):
            grids = torch.cat([picture["image_grid_thw"].reshape(1, 3) for picture in pictures])
            self._positions, moved = model.base_model.get_rope_index(
                torch.tensor([prompt]), mm_token_type_ids=kinds, image_grid_thw=grids
            )
            self.shift = int(moved)

    def piece_end(self, start: int, end: int) -> int:
        """Where a piece from `start` to at most `end` stops: before a picture, or behind it."""
        for first, behind in self._spans:
            if start == first:
                return behind
            if start < first < end:
                return first
        return end

    def inputs(self, start: int, end: int) -> dict[str, Any]:
        """What the model's forward() takes beside the tokens from start to end."""
        model = self._model
        found: dict[str, Any] = {}
        if self._positions is not None:
            found["position_ids"] = self._positions[:, :, start:end]
        if (start, end) in self._spans:
            picture = self._pictures[self._spans.index((start, end))]
            for name in parameters_of(model) & picture.keys():
                tensor = picture[name]
                if name == "image_grid_thw":
                    tensor = tensor.reshape(1, 3)
                found[name] = tensor.to(model.dtype) if tensor.is_floating_point() else tensor
        return {name: tensor.to(model.device) for name, tensor in found.items()}


def _span(picture: dict[str, Any]) -> tuple[int, int]:
    """The tokens of a picture. LMDeploy says the first and the number of them, or the first and the one behind."""
    offset = picture["offset"]
    return (offset, offset + int(picture["image_tokens"])) if isinstance(offset, int) else tuple(offset)
