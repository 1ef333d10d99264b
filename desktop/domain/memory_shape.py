"""What of a checkpoint decides its memory, as one value that can be kept beside it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from desktop.domain.checkpoint import CheckpointConfig, Quantization, parse_config
from desktop.domain.checkpoint_details import CheckpointDetails, parse_details
from desktop.domain.errors import FailureCode, error
from desktop.domain.expected_tensors import expected_tensors
from desktop.domain.weights import AWQ_GROUP, TensorEntry, Weights, as_awq, weights_on_card


class MemoryShape(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint as the forecast sees it: a plain value, to be kept or sent."""

    config: CheckpointConfig
    details: CheckpointDetails
    weights: Weights

    @property
    def quantization(self) -> str:
        """The method of its weights, "" for 16 bits."""
        return self.config.quantization.method if self.config.quantization else ""

    @property
    def complete(self) -> bool:
        """Whether config.json says all that the KV cache and the workspace depend on."""
        config = self.config
        return None not in (
            *(config.layers, config.hidden_size, config.heads, config.kv_heads, config.head_dim, config.vocab_size),
            config.intermediate_size or self.details.expert_intermediate_size or None,
        )


def read_shape(config_json: object, tensors: Mapping[str, TensorEntry] | None = None) -> MemoryShape:
    """Build it from the decoded config.json and the headers of the weight files.

    Without headers (a model that is not on the disk yet) the weights are estimated from config.json alone.
    Takes milliseconds; the headers of a model with experts hold tens of thousands of names. Raises TurbodeskError
    (config_broken) when config.json is, or when there are no headers and it does not say how large the model is.
    """
    config = parse_config(config_json)
    assert isinstance(config_json, dict)  # parse_config() refuses anything else
    details = parse_details(config_json)
    if tensors is not None:
        return MemoryShape(config=config, details=details, weights=weights_on_card(config, tensors, details))
    expected = expected_tensors(config_json, config, details)
    if not expected:
        raise error(FailureCode.CONFIG_BROKEN, file="config.json", reason="it does not say how large the model is")
    weights = msgspec.structs.replace(weights_on_card(config, expected, details), exact=False)
    return MemoryShape(config=config, details=details, weights=weights)


def awq_shape(shape: MemoryShape) -> MemoryShape:
    """The same checkpoint after AWQ with groups of 128. Raises ValueError where it cannot be packed."""
    config = msgspec.structs.replace(
        shape.config, quantization=Quantization(method="awq", bits=4, group_size=AWQ_GROUP)
    )
    return msgspec.structs.replace(shape, config=config, weights=as_awq(shape.weights))
