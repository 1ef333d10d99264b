"""Which methods a checkpoint allows, which one to recommend, and why not the rest."""

from __future__ import annotations

import msgspec

from desktop.domain.engine_support import QuantizerSupport
from desktop.domain.quantization import GROUP_SIZE, METHODS, MethodFacts, QuantizationMethod
from desktop.domain.quantization_source import QuantizationSource

_FOUR_BITS = frozenset(
    (QuantizationMethod.AWQ, QuantizationMethod.AWQ_SEARCH, QuantizationMethod.ROUND, QuantizationMethod.GPTQ)
)
_SMOOTHING = frozenset(
    (QuantizationMethod.AWQ, QuantizationMethod.AWQ_SEARCH, QuantizationMethod.INT8, QuantizationMethod.FP8)
)
# What is recommended where it is possible, the best first.
_PREFERENCE = (QuantizationMethod.AWQ, QuantizationMethod.ROUND, QuantizationMethod.INT8)


class MethodChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A method for one checkpoint. why_not: a sentence, "" where it is possible. recommended: of one at most."""

    facts: MethodFacts
    why_not: str = ""
    recommended: bool = False

    @property
    def possible(self) -> bool:
        """Whether it may be offered."""
        return not self.why_not


def method_choices(source: QuantizationSource, quantizer: QuantizerSupport, has_card: bool) -> tuple[MethodChoice, ...]:
    """All methods in the order of METHODS. quantizer: what LMDeploy said of the folder."""
    reasons = {facts.method: _why_not(facts, source, quantizer, has_card) for facts in METHODS}
    best = next((method for method in _PREFERENCE if not reasons[method]), None)
    return tuple(
        MethodChoice(facts=facts, why_not=reasons[facts.method], recommended=facts.method is best) for facts in METHODS
    )


def _why_not(facts: MethodFacts, source: QuantizationSource, quantizer: QuantizerSupport, has_card: bool) -> str:
    method, quantization = facts.method, source.config.quantization
    if quantization is not None:
        return f"The model is already quantized ({quantization.method}); choose its 16-bit original."
    if quantizer.pictures:
        return "The model reads pictures; such models cannot be quantized here yet."
    if method is QuantizationMethod.GPTQ:
        if not quantizer.gptq:
            return "GPTQ's library (auto-gptq) is not installed."
        if not has_card:
            return "GPTQ needs an NVIDIA card."
    elif not quantizer.known:
        return quantizer.reason
    if not source.packed(quantizer.skipped):
        return "The model has no linear layers that could be packed."
    if method in _SMOOTHING and not quantizer.smooths:
        return f"{quantizer.reason} Rounding to nearest needs no such knowledge."
    if method in _FOUR_BITS and (odd := source.indivisible(quantizer.skipped)):
        if odd.inputs % GROUP_SIZE:
            return (
                f"{odd.name} has {odd.inputs} inputs, which do not divide into groups of {GROUP_SIZE}; "
                "TurboMind loads no other group size."
            )
        return f"{odd.name} has {odd.outputs} outputs, which do not divide by 8."
    return ""
