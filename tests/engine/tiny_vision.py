"""Vision checkpoints of a few thousand weights, each with a tokenizer and a processor of its family."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers.utils import logging

from desktop.domain.generation import ChatMessage

CONTEXT = 512
TOKENS = 16  # of a reply
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<video>",
    "<image>",
)
ID = {token: number for number, token in enumerate(SPECIAL)}
LETTERS = ["\n", *map(chr, range(ord(" "), ord("~") + 1)), *map(chr, range(ord("一"), ord("一") + 150))]
TEXT: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(LETTERS),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    # Ten times the usual: with it the reply depends on every token of the prompt and on its position.
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
INTERLEAVED = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
VISION: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "initializer_range": 0.2}
QWEN_VISION: dict[str, Any] = VISION | {"depth": 2, "num_heads": 2, "patch_size": 4, "out_hidden_size": 32}
QWEN_LIMITS = {"shortest_edge": 8 * 8, "longest_edge": 80 * 4 * 4}  # pixels
MOE = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
LINEAR: dict[str, Any] = TEXT | {
    "head_dim": 32,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "rope_parameters": INTERLEAVED | {"partial_rotary_factor": 0.25},
}
QWEN_TOKENS = {
    "image_token_id": ID["<|image_pad|>"],
    "video_token_id": ID["<|video_pad|>"],
    "vision_start_token_id": ID["<|vision_start|>"],
    "vision_end_token_id": ID["<|vision_end|>"],
}
PICTURE = {
    "qwen": "<|vision_start|><|image_pad|><|vision_end|>",
    "internvl": "<IMG_CONTEXT>\n",
    "llava": "<image>\n",
}
TEMPLATE = """
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\n' -}}
{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}
{%- for part in message['content'] -%}
{{- part['text'] if part['type'] == 'text' else 'PICTURE' -}}
{%- endfor -%}{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


def write_vision(folder: Path, family: str) -> Path:
    """A model of one of FAMILIES with seeded random weights in folder."""
    logging.disable_progress_bar()
    torch.manual_seed(0)
    config, processor = FAMILIES[family]()
    model: Any = transformers.AutoModelForImageTextToText.from_config(config)
    for name, weight in model.named_parameters():
        if "layernorm" not in name and weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)  # some vision parts have no initializer_range
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer(picture: str, **named: str) -> Any:
    """One token a letter, so that texts are alike only where tokens are, and the special ones."""
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        chat_template=TEMPLATE.replace("PICTURE", picture.replace("\n", "\\n")),
        extra_special_tokens=named,
    )


def _qwen(config: Any, name: str) -> tuple[Any, Any]:
    tokenizer = _tokenizer(PICTURE["qwen"])
    sizes: dict[str, Any] = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2, "size": QWEN_LIMITS}
    videos = transformers.Qwen3VLVideoProcessor if "3" in name else transformers.Qwen2VLVideoProcessor
    processor = getattr(transformers, f"{name}Processor")(
        image_processor=transformers.Qwen2VLImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=videos(**sizes),
        chat_template=tokenizer.chat_template,
    )
    return config, processor


def _qwen2() -> tuple[Any, Any]:
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 4}
    text = TEXT | {"rope_parameters": MROPE}
    return _qwen(transformers.Qwen2VLConfig(text_config=text, vision_config=vision, **QWEN_TOKENS), "Qwen2VL")


def _qwen2_5() -> tuple[Any, Any]:
    vision = QWEN_VISION | {"window_size": 16, "fullatt_block_indexes": [1]}
    text = TEXT | {"rope_parameters": MROPE}
    return _qwen(transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **QWEN_TOKENS), "Qwen2_5_VL")


def _qwen3() -> tuple[Any, Any]:
    vision = QWEN_VISION | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    text = TEXT | {"head_dim": 8, "rope_parameters": INTERLEAVED}
    return _qwen(transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **QWEN_TOKENS), "Qwen3VL")


def _qwen3_5() -> tuple[Any, Any]:
    vision = QWEN_VISION | {"num_position_embeddings": 64}
    return _qwen(transformers.Qwen3_5Config(text_config=LINEAR, vision_config=vision, **QWEN_TOKENS), "Qwen3VL")


def _qwen3_moe() -> tuple[Any, Any]:
    vision = QWEN_VISION | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    text = TEXT | MOE | {"head_dim": 8, "rope_parameters": INTERLEAVED}
    return _qwen(transformers.Qwen3VLMoeConfig(text_config=text, vision_config=vision, **QWEN_TOKENS), "Qwen3VL")


def _qwen3_5_moe() -> tuple[Any, Any]:
    vision = QWEN_VISION | {"num_position_embeddings": 64}
    text = LINEAR | MOE | {"shared_expert_intermediate_size": 16}
    return _qwen(transformers.Qwen3_5MoeConfig(text_config=text, vision_config=vision, **QWEN_TOKENS), "Qwen3VL")


def _glm4v() -> tuple[Any, Any]:
    marks = ("image_start_token_id", "image_end_token_id", "video_start_token_id", "video_end_token_id")
    config = transformers.Glm4vConfig(
        text_config=TEXT | {"rope_parameters": MROPE | {"partial_rotary_factor": 1.0}},
        vision_config=QWEN_VISION | {"image_size": 32},
        image_token_id=ID["<|image_pad|>"],
        video_token_id=ID["<|video_pad|>"],
        **dict(zip(marks, range(ID["<img>"], ID["<img>"] + 4), strict=True)),
    )
    tokenizer = _tokenizer(PICTURE["qwen"], image_token="<|image_pad|>", video_token="<|video_pad|>")
    sizes: dict[str, Any] = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2, "size": QWEN_LIMITS}
    processor = transformers.Glm4vProcessor(
        image_processor=transformers.Glm4vImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=transformers.Glm4vVideoProcessor(**sizes),
        chat_template=tokenizer.chat_template,
    )
    return config, processor


def _internvl() -> tuple[Any, Any]:
    vision = VISION | {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": [16, 16], "patch_size": [4, 4]}
    config = transformers.InternVLConfig(
        text_config=TEXT | {"model_type": "qwen2"},
        vision_config=vision,
        image_token_id=ID["<IMG_CONTEXT>"],
        image_seq_length=4,
    )
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = _tokenizer(PICTURE["internvl"], **named, video_token="<video>")
    size = {"height": 16, "width": 16}
    processor = transformers.InternVLProcessor(
        image_processor=transformers.GotOcr2ImageProcessor(size=size, crop_to_patches=True, max_patches=4),
        tokenizer=tokenizer,
        video_processor=transformers.InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=tokenizer.chat_template,
    )
    return config, processor


def _llava() -> tuple[Any, Any]:
    vision = VISION | {
        "model_type": "clip_vision_model",
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 4,
        "projection_dim": 32,
    }
    config = transformers.LlavaConfig(
        text_config=TEXT | {"model_type": "llama"},
        vision_config=vision,
        image_token_index=ID["<image>"],
        image_seq_length=16,
    )
    tokenizer = _tokenizer(PICTURE["llava"])
    size = {"height": 16, "width": 16}
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size),
        tokenizer=tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    return config, processor


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "Qwen2-VL": _qwen2,
    "Qwen2.5-VL": _qwen2_5,
    "Qwen3-VL": _qwen3,
    "Qwen3-VL-MoE": _qwen3_moe,
    "Qwen3.5": _qwen3_5,
    "Qwen3.5-MoE": _qwen3_5_moe,
    "GLM-4V": _glm4v,
    "InternVL": _internvl,
    "LLaVA": _llava,
}


class Reference:
    """Transformers alone over one folder."""

    def __init__(self, folder: Path) -> None:
        self._processor: Any = transformers.AutoProcessor.from_pretrained(folder)
        self._model: Any = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()

    def ask(self, *messages: ChatMessage) -> tuple[int, str]:
        """Tokens of the prompt, and the reply of generate()."""
        images = [Image.open(io.BytesIO(image.data)).convert("RGB") for said in messages for image in said.images]
        told = []
        for said in messages:
            parts: list[dict[str, str]] = [{"type": "image"} for _ in said.images]
            told.append({"role": said.role, "content": [*parts, {"type": "text", "text": said.content}]})
        text = self._processor.apply_chat_template(told, add_generation_prompt=True)
        inputs = self._processor(text=[text], images=images or None, return_tensors="pt")
        size = inputs["input_ids"].shape[1]
        tokenizer = self._processor.tokenizer
        settings = {"do_sample": False, "max_new_tokens": TOKENS, "eos_token_id": tokenizer.eos_token_id}
        ids = self._model.generate(**inputs, **settings, pad_token_id=0)[0, size:].tolist()
        shown = [number for number in ids if number not in tokenizer.all_special_ids]
        return size, "".join(tokenizer.convert_ids_to_tokens(shown))
