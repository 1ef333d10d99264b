"""Guided decoding for the CPU engine: masks the tokens that would break a reply's grammar, with XGrammar."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import torch

from desktop.domain.json_schema import NOT_ITS_BEGINNING
from desktop.engine.guidance import BEGUN


class GuideMaker:
    """Compiles grammars for one model. vocabulary: logits a step. The tokenizer is read at the first use.

    May be called from several threads.
    """

    def __init__(self, model_path: str, vocabulary: int, trust_remote_code: bool = False) -> None:
        self._model_path = model_path
        self._vocabulary = vocabulary
        self._trust_remote_code = trust_remote_code
        self._lock = threading.Lock()
        self._compiler: Any = None

    def make(self, response_format: dict[str, Any], stops: Iterable[int]) -> Guide:
        """A guide for one reply. response_format: LMDeploy's, maybe with BEGUN; stops: the tokens that end the reply.

        Takes as long as the grammar is large. Raises ValueError or RuntimeError for one that cannot be compiled, or
        that what has been written does not begin.
        """
        import xgrammar
        from lmdeploy._guided_decoding import compile_response_format

        begun = str(response_format.get(BEGUN, ""))
        response_format = {key: value for key, value in response_format.items() if key != BEGUN}
        with self._lock:
            if self._compiler is None:
                self._compiler = self._make_compiler()
            grammar = compile_response_format(self._compiler, response_format)
        matcher = xgrammar.GrammarMatcher(grammar, override_stop_tokens=sorted(stops) or None)
        if not matcher.accept_string(begun):
            raise ValueError(NOT_ITS_BEGINNING)
        return Guide(matcher, self._vocabulary)

    def _make_compiler(self) -> Any:
        import xgrammar
        from lmdeploy.pytorch.engine.guided_process import GuidedDecodingManager
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            self._model_path, local_files_only=True, trust_remote_code=self._trust_remote_code
        )
        # Either may be the larger: logits are padded, and tokens may lie behind them.
        self._vocabulary = max(self._vocabulary, len(tokenizer))
        if type(tokenizer).__name__ == "InternS1Tokenizer":  # whose vocabulary only LMDeploy can spell out
            return GuidedDecodingManager(tokenizer, self._vocabulary).compiler
        return xgrammar.GrammarCompiler(xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=self._vocabulary))


class Guide:
    """The grammar of one reply and where in it the reply is."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        import xgrammar

        self._matcher = matcher
        self._mask = xgrammar.allocate_token_bitmask(1, vocabulary)

    @property
    def over(self) -> bool:
        """Whether the reply is complete and a stop token has been taken."""
        return bool(self._matcher.is_terminated())

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits, [vocabulary] float32, with what the grammar forbids at minus infinity."""
        import xgrammar

        if not self._matcher.fill_next_token_bitmask(self._mask):
            return logits  # everything is allowed
        masked = logits.clone()[None]
        xgrammar.apply_token_bitmask_inplace(masked, self._mask.to(logits.device), vocab_size=logits.numel())
        return masked[0]

    def accept(self, token: int) -> None:
        """Take the token that was drawn. Raises RuntimeError when the grammar left none that could be."""
        if not self._matcher.accept_token(token):
            raise RuntimeError("no token of the model's vocabulary can go on with the reply")
