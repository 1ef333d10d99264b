"""Forward passes for several requests at once: their KV caches, and the next logits of all of them."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

logger = logging.getLogger(__name__)

# The KV buffers are read in steps of this many tokens, so that their views and shapes seldom change.
_STEP = 32
_FIRST_CAPACITY = 256
# Buffers up to this size stay for the next request when nothing runs.
_KEEP_BYTES = 2**28
# Rotary embeddings whose frequencies depend on the longest position of the batch, thus on the other requests.
_BATCH_DEPENDENT_ROPE = ("dynamic", "longrope")


# Below this many multiplications a second thread costs more than it brings, most of all when another program keeps
# a core busy and every operation waits for it.
_ONE_THREAD_OPERATIONS = 2e8


def threads_for(operations: float, most: int) -> int:
    """How many of at most `most` threads a forward pass of so many multiplications should use."""
    return most if operations > _ONE_THREAD_OPERATIONS else 1


class CacheFullError(Exception):
    """The KV cache has no room for what was asked; nothing was changed."""


class Decoder(Protocol):
    """The running requests as rows 0, 1, 2 …; lengths: tokens in the cache of each row."""

    lengths: list[int]
    capacity: int

    def join(self, cache: Any, length: int, shift: int | None = None) -> None:
        """Add a row from a cache of `length` tokens that Transformers filled. Raises CacheFullError.

        shift: see PicturePrompt.
        """
        ...

    def leave(self, row: int) -> None:
        """Remove a row; the last row takes its number."""
        ...

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Feed each row one token; the next logits, [rows, vocabulary]. Raises CacheFullError."""
        ...


def make_decoder(model: Any, max_rows: int, max_length: int, cache_bytes: int) -> Decoder:
    """The fastest decoder that computes what the model computes for each request alone.

    max_length: tokens of one row; cache_bytes: what the KV buffers may take. Batching and recording are tried on a
    few tokens and used only when their logits agree with plain forward passes.
    """
    if _may_batch(model):
        recordings = (True, False) if _may_record(model) else (False,)
        for recorded in recordings:
            decoder = SlotDecoder(model, max_rows, max_length, cache_bytes)
            try:
                if _agrees(decoder, model, recorded):
                    return decoder
            except Exception:
                logger.info("batching (recorded: %s) was refused by this model", recorded, exc_info=True)
    logger.info("%s decodes one request at a time", type(model).__name__)
    return SeparateDecoder(model)


class SeparateDecoder:
    """One Transformers cache and one forward pass for each row: for models whose caches cannot be batched."""

    def __init__(self, model: Any) -> None:
        self.lengths: list[int] = []
        self.capacity = 0  # not known: such caches need not grow with the tokens
        self._model = model
        self._caches: list[Any] = []
        self._shifts: list[int | None] = []

    def join(self, cache: Any, length: int, shift: int | None = None) -> None:
        """See Decoder."""
        self._caches.append(cache)
        self._shifts.append(shift)
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        """See Decoder."""
        self._caches[row] = self._caches[-1]
        self._shifts[row] = self._shifts[-1]
        self.lengths[row] = self.lengths[-1]
        self._caches.pop()
        self._shifts.pop()
        self.lengths.pop()

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See Decoder."""
        rows = []
        for token, cache, shift, length in zip(tokens, self._caches, self._shifts, self.lengths, strict=True):
            known = (
                {}
                if shift is None
                else {"position_ids": torch.full((3, 1, 1), length + shift, device=self._model.device)}
            )
            rows.append(forward(self._model, [token], cache, **known)[-1])
        self.lengths = [length + 1 for length in self.lengths]
        return torch.stack(rows)


class SlotDecoder:
    """All rows in one cache and one forward pass: buffers of [slots, kv heads, capacity, head size] a layer.

    Rows are packed at the front of the buffers, so a step works on views of them; a mask hides what lies behind the
    end of each row. On a CPU the step is recorded once as TorchScript, whose replay does the same operations without
    Python between them: half the time for a small model, and the interpreter stays free for the event loop.
    """

    def __init__(self, model: Any, max_rows: int, max_length: int, cache_bytes: int) -> None:
        self.lengths: list[int] = []
        self.capacity = 0
        self._model = model
        self._max_rows = max_rows
        self._max_length = _round_up(max_length)
        self._cache_bytes = cache_bytes
        self._layers: list[_SlotLayer] = []
        self._buffers: list[torch.Tensor] = []  # keys and values of layer 0, of layer 1 …
        self._mask = torch.zeros(0, device=model.device)  # [slots, 1, 1, capacity], added to the attention scores
        self._views: list[torch.Tensor] = []
        self._views_shape = (0, 0)
        self._forward: Callable[..., torch.Tensor] = self._forward_plain

    def join(self, cache: Any, length: int, shift: int | None = None) -> None:
        """See Decoder; models that read pictures are not batched."""
        tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        if not self._layers:
            self._layers = [_SlotLayer() for _ in cache.layers]
            bytes_a_token = sum(t.shape[1] * t.shape[3] * t.element_size() for t in tensors)
            self.capacity = self._cache_bytes // bytes_a_token
        row = len(self.lengths)
        self._reserve(row + 1, length, tensors)
        for buffer, tensor in zip(self._buffers, tensors, strict=True):
            buffer[row, :, :length] = tensor[0]
        self._mask[row] = torch.finfo(self._mask.dtype).min
        self._mask[row, :, :, :length] = 0
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        """See Decoder."""
        last = len(self.lengths) - 1
        length = self.lengths.pop()
        if row != last:
            for buffer in self._buffers:
                buffer[row, :, :length] = buffer[last, :, :length]
            self._mask[row] = self._mask[last]
            self.lengths[row] = length
        if not self.lengths and sum(buffer.nbytes for buffer in self._buffers) > _KEEP_BYTES:
            self._buffers, self._views, self._views_shape = [], [], (0, 0)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See Decoder."""
        logits = self._forward(*self._prepare(tokens))
        self.lengths = [length + 1 for length in self.lengths]
        return logits

    def record(self) -> None:
        """Record the step as TorchScript, from a step that is not taken. Needs at least two rows.

        Two rows because a size of one may be recorded as a constant.
        """
        with warnings.catch_warnings():
            # torch.compile, recommended instead, needs a compiler; the tracer cannot know that branches on sizes
            # always go the same way here; and it reads deprecated properties of the model.
            for category in (DeprecationWarning, FutureWarning, torch.jit.TracerWarning):
                warnings.filterwarnings("ignore", category=category)
            inputs = self._prepare([0] * len(self.lengths))
            # A module, not a function: TorchScript keeps functions, and the weights in them, for ever.
            self._forward = torch.jit.trace(_Step(self._model, self._forward_plain), inputs, check_trace=False)

    def _prepare(self, tokens: Sequence[int]) -> tuple[torch.Tensor, ...]:
        rows, device = len(self.lengths), self._mask.device
        self._reserve(rows, max(self.lengths) + 1, self._buffers)
        length = _round_up(max(self.lengths) + 1)
        if self._views_shape != (rows, length):
            self._views = [buffer[:rows, :, :length] for buffer in self._buffers]
            self._views_shape = (rows, length)
        positions = torch.tensor(self.lengths, device=device)
        numbers = torch.arange(rows, device=device)
        self._mask[numbers, 0, 0, positions] = 0
        ids = torch.tensor(tokens, device=device)
        return (ids[:, None], positions[:, None], self._mask[:rows, :, :, :length], numbers, *self._views)

    def _forward_plain(
        self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor, *buffers: torch.Tensor
    ) -> torch.Tensor:
        for index, layer in enumerate(self._layers):
            layer.keys, layer.values = buffers[2 * index], buffers[2 * index + 1]
            layer.rows, layer.positions = rows, positions[:, 0]
        logits: torch.Tensor = self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=Cache(layers=list(self._layers)),
            use_cache=True,
        ).logits
        return logits[:, -1]

    def _reserve(self, rows: int, length: int, like: Sequence[torch.Tensor]) -> None:
        slots, room = (self._buffers[0].shape[0], self._buffers[0].shape[2]) if self._buffers else (0, 0)
        if rows <= slots and length <= room:
            return
        new_slots = slots if rows <= slots else min(max(rows, 2 * slots), self._max_rows)
        new_room = room
        if length > room:
            new_room = max(_round_up(length), min(max(2 * room, _FIRST_CAPACITY), self._max_length))
        if new_slots * new_room > self.capacity:
            new_slots, new_room = max(rows, slots), max(_round_up(length), room)
            if new_slots * new_room > self.capacity:
                raise CacheFullError(f"{new_slots} x {new_room} tokens, there is room for {self.capacity}")
        # Zeros, not whatever the memory held: a hidden position still takes part as 0 x its value.
        buffers = [old.new_zeros(new_slots, old.shape[1], new_room, old.shape[3]) for old in like]
        mask = torch.full((new_slots, 1, 1, new_room), torch.finfo(like[0].dtype).min).to(like[0])
        if self._buffers:
            for new, old in zip(buffers, self._buffers, strict=True):
                new[:slots, :, :room] = old
            mask[:slots, :, :, :room] = self._mask
        self._buffers, self._mask, self._views_shape = buffers, mask, (0, 0)


class _Step(torch.nn.Module):  # type: ignore[misc]
    """A step as a module, which is what can be recorded; the model is its part so that its weights are known."""

    def __init__(self, model: Any, step: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.model = model
        self._step = step

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """See SlotDecoder._forward_plain."""
        return self._step(*inputs)


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's part of a step: writes the new token of each row at its position."""

    is_sliding = False
    rows: torch.Tensor
    positions: torch.Tensor

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing: SlotDecoder sets the tensors."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of one new token a row, [rows, kv heads, 1, head size], into the buffers; all of them."""
        self.keys[self.rows, :, self.positions] = key_states[:, :, 0]
        self.values[self.rows, :, self.positions] = value_states[:, :, 0]
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys."""
        return self.get_max_length(), 0

    def get_seq_length(self) -> int:
        """Not meaningful for rows of several lengths; positions are given to the model instead."""
        return self.get_max_length() - 1

    def get_max_length(self) -> int:
        """Tokens a row can hold."""
        length: int = self.keys.shape[2]
        return length


def new_cache(model: Any) -> Any:
    """An empty cache of Transformers' own kind for one request."""
    return DynamicCache(config=model.config)


def forward(
    model: Any, tokens: Sequence[int], cache: Any, all_logits: bool = False, **more: torch.Tensor
) -> torch.Tensor:
    """Feed the tokens of one request behind those in its cache: logits [1 or all tokens, vocabulary].

    more: what else the model takes, as pictures.
    """
    ids = torch.tensor([list(tokens)], device=model.device)
    few = {"logits_to_keep": 1} if not all_logits and "logits_to_keep" in parameters_of(model) else {}
    logits: torch.Tensor = model(input_ids=ids, past_key_values=cache, use_cache=True, **few, **more).logits[0]
    return logits if all_logits else logits[-1:]


def parameters_of(model: Any) -> frozenset[str]:
    """The names of what the model's forward() takes."""
    names: frozenset[str] | None = getattr(model, "_turbodesk_parameters", None)
    if names is None:
        names = model._turbodesk_parameters = frozenset(inspect.signature(model.forward).parameters)
    return names


def _may_batch(model: Any) -> bool:
    """Whether the model's own description allows batching: plain attention everywhere, positions as an input."""
    config = model.config
    layers = new_cache(model).layers
    return (
        config.get_text_config() is config
        and {"position_ids", "attention_mask"} <= parameters_of(model)
        and bool(layers)
        and all(type(layer) is DynamicLayer for layer in layers)
        and config._attn_implementation in ("sdpa", "eager")
        and not any(kind in str(getattr(config, "rope_parameters", None)) for kind in _BATCH_DEPENDENT_ROPE)
    )


def _may_record(model: Any) -> bool:
    """Whether a recording can stand for the forward pass: Transformers says that no branch depends on data."""
    experts = any("expert" in name for name, _ in model.named_modules())
    own = type(model).__module__.startswith("transformers.models.")
    return bool(model.device.type == "cpu" and own and model._can_compile_fullgraph and not experts)


def _agrees(decoder: SlotDecoder, model: Any, record: bool) -> bool:
    """Whether steps of the decoder, with rows that leave, give the logits of plain forward passes."""
    vocabulary = model.get_input_embeddings().num_embeddings
    random = torch.Generator().manual_seed(0)
    texts = [torch.randint(vocabulary, (size,), generator=random).tolist() for size in (7, 4)]
    caches = [new_cache(model) for _ in texts]
    for text, cache in zip(texts, caches, strict=True):
        forward(model, text[:-2], cache)
        decoder.join(cache, len(text) - 2)
    if record:
        decoder.record()
    ours = [decoder.step([text[-2] for text in texts])]
    decoder.leave(0)
    ours.append(decoder.step([texts[1][-1]]))
    decoder.leave(0)
    expected = torch.cat([forward(model, [text[-2]], cache) for text, cache in zip(texts, caches, strict=True)])
    expected = torch.cat([expected, forward(model, [texts[1][-1]], caches[1])])
    error = (torch.cat(ours) - expected).abs().max()
    return bool(error <= (1e-3 if expected.dtype == torch.float32 else 5e-2) * expected.abs().max())


def _round_up(length: int) -> int:
    return -(-length // _STEP) * _STEP
