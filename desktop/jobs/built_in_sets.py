"""LMDeploy's own calibration sets, fetched and sampled by LMDeploy's own code. For a job's process: imports torch."""

from __future__ import annotations

from typing import Any

import torch

from desktop.domain.calibration import BUILT_IN_SETS, BuiltInSet
from desktop.domain.errors import FailureCode, error

# LMDeploy asks for this set by a name from before sets had owners, which the libraries do not take any more.
_OWNED = {"wikitext": "Salesforce/wikitext"}


def read_built_in_set(
    chosen: BuiltInSet, tokenizer: Any, samples: int, sequence_length: int, seed: int
) -> list[torch.Tensor]:
    """int64 tensors of [1, sequence_length] tokens, at most as many as asked for.

    The same that `lmdeploy lite --calib-dataset` gets (which always takes seed 0). Raises TurbodeskError
    (calibration_unusable).
    """
    from desktop.engine.lmdeploy_failures import first_line

    def unusable(reason: str) -> Exception:
        return error(FailureCode.CALIBRATION_UNUSABLE, what=f"LMDeploy's set {chosen.name}", reason=reason)

    if chosen.name not in BUILT_IN_SETS:
        raise unusable("LMDeploy has no such set")
    try:
        import datasets
        from lmdeploy.lite.utils.calib_dataloader import get_calib_loaders
    except ImportError as problem:
        raise unusable(f"a library is missing: {first_line(problem)}") from problem
    load = datasets.load_dataset
    datasets.load_dataset = lambda path, *args, **kwargs: load(_OWNED.get(path, path), *args, **kwargs)
    try:
        found = get_calib_loaders(chosen.name, tokenizer, nsamples=samples, seed=seed, seqlen=sequence_length)
    except Exception as problem:  # whatever the network, the hub and the set's own format bring
        raise unusable(f"it could not be fetched and read ({first_line(problem)})") from problem
    finally:
        datasets.load_dataset = load
    return [sample.to(torch.int64) for sample in found[:samples] if tuple(sample.shape) == (1, sequence_length)]
