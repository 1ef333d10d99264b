"""Loads a checkpoint folder as a Transformers model, or says what is wrong with it."""

from __future__ import annotations

import errno
import json
import math
import os
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from lmdeploy.messages import TurbomindEngineConfig
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.utils import logging as transformers_logging

from desktop.domain.errors import FailureCode, TurbodeskError, error
from desktop.domain.weight_files import WeightFiles, indexed_files, weight_files, without_trainer_files
from desktop.engine import awq_weights
from desktop.engine.lmdeploy_failures import pickle_failure


def load_model(
    path: str,
    engine_config: TurbomindEngineConfig,
    device: str,
    on_progress: Callable[[float], None],
    trust_remote_code: bool,
) -> Any:
    """The model of the folder `path`, in evaluation mode on `device`.

    Never fetches anything, never leaves a weight at a random value, and opens pickles only of a model that is trusted.
    Raises TurbodeskError for what a folder or a machine can cause.
    """
    try:
        return _load(Path(path), engine_config, device, on_progress, trust_remote_code)
    except TurbodeskError:
        raise
    except Exception as failed:
        detail = traceback.format_exc()
        if is_out_of_memory(failed):
            code = FailureCode.HOST_MEMORY_EXHAUSTED if device == "cpu" else FailureCode.VIDEO_MEMORY_EXHAUSTED
            raise error(code, detail=detail, when="while the model was loaded") from failed
        raise error(FailureCode.LOAD_FAILED, detail=detail, reason=_first_line(failed)) from failed


def is_out_of_memory(failed: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the host or on a card."""
    if isinstance(failed, MemoryError | torch.OutOfMemoryError) or getattr(failed, "errno", 0) == errno.ENOMEM:
        return True
    words = str(failed).lower()  # of torch's allocator, and of the system where a file is to be mapped
    return isinstance(failed, RuntimeError) and ("can't allocate memory" in words or "cannot allocate memory" in words)


def _load(
    path: Path,
    engine_config: TurbomindEngineConfig,
    device: str,
    on_progress: Callable[[float], None],
    trust_remote_code: bool,
) -> Any:
    config = _read_config(path, trust_remote_code)
    for key, value in (engine_config.hf_overrides or {}).items():
        setattr(config, key, value)
    method = _take_quantization(config)
    chosen = weight_files(os.listdir(path))
    weights: dict[str, torch.Tensor] | None = None
    if chosen.pickles:
        if not trust_remote_code:
            raise error(FailureCode.PICKLE_WEIGHTS, file=chosen.index or chosen.files[0])
        if method is not None:
            raise _unsupported(config, f"the CPU engine reads weights quantized with {method} from .safetensors only")
        weights = _read_pickles(path, chosen)
        count = sum(tensor.numel() for tensor in weights.values())
        dtype = _choose_dtype(config, engine_config.dtype, count, device)
    else:
        files = _weight_files(path)
        dtype = _choose_dtype(config, engine_config.dtype, _count_weights(files), device)
        if method == "awq":
            weights = awq_weights.read_dequantized(files, dtype)
    transformers_logging.set_verbosity_error()
    previous = transformers_logging.set_tqdm_hook(_progress_hook(on_progress))
    try:
        model_class: Any = _model_class(config)
        if weights is not None:
            # Tensors of our own can only be given to the class itself, of which this makes an empty instance.
            with torch.device("meta"):
                model_class = type(model_class.from_config(config, trust_remote_code=trust_remote_code))
        model, found = model_class.from_pretrained(
            path if weights is None else None,
            config=config,
            state_dict=weights,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except ImportError as failed:
        reason = f"its code needs a package that is not installed ({_first_line(failed)})"
        raise _unsupported(config, reason, traceback.format_exc()) from failed
    finally:
        transformers_logging.set_tqdm_hook(previous)
    _check_complete(found, chosen.index or chosen.files[0], packed=method == "awq")
    model = model.to(device).eval().requires_grad_(False)
    if dtype == torch.float32 and device == "cpu":
        _store_by_columns(model)
    return model


def _store_by_columns(model: Any) -> None:
    """Store the weights of widening linear layers column by column; the numbers stay the same.

    MKL multiplies a few rows by such a weight up to twice as fast: a 4096 x 320 one took 0.13 ms for one row, not
    0.3 ms (two Zen 3 cores). Narrowing layers gain nothing from it.
    """
    for module in model.modules():
        if type(module) is torch.nn.Linear and module.out_features > module.in_features:
            module.weight.data = module.weight.data.t().contiguous().t()


def _read_config(path: Path, trust_remote_code: bool) -> Any:
    try:
        return AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as failed:
        detail = traceback.format_exc()
        try:
            raw = json.loads((path / "config.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise error(FailureCode.NOT_A_CHECKPOINT, path=path, reason="it has no config.json") from failed
        except (OSError, ValueError) as broken:
            raise error(FailureCode.CONFIG_BROKEN, file="config.json", reason=broken, detail=detail) from failed
        if raw.get("auto_map") and not trust_remote_code:
            raise error(FailureCode.CODE_NOT_ALLOWED, detail=detail) from failed
        name = ", ".join(raw.get("architectures") or []) or raw.get("model_type") or "without a name"
        reason = f"Transformers does not know it ({_first_line(failed)})"
        raise error(FailureCode.ARCHITECTURE_UNSUPPORTED, architecture=name, reason=reason, detail=detail) from failed


def _take_quantization(config: Any) -> str | None:
    """Remove the quantization settings from the config and return their method: None or "awq"."""
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return None
    settings = settings if isinstance(settings, dict) else settings.to_dict()
    method = str(settings.get("quant_method", "unknown"))
    bits = settings.get("bits", settings.get("w_bit"))
    if method != "awq":
        raise _unsupported(config, f"the CPU engine runs 16-bit and AWQ weights, these are quantized with {method}")
    if bits != awq_weights.BITS or settings.get("version", "gemm") != "gemm":
        raise _unsupported(config, f"the CPU engine knows AWQ of 4 bits in the gemm layout, this is {bits} bits")
    del config.quantization_config
    return method


def _weight_files(path: Path) -> list[Path]:
    """The .safetensors files of the folder, each one whole."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError) as broken:
            raise error(FailureCode.CONFIG_BROKEN, file=index.name, reason=_first_line(broken)) from broken
    else:
        names = ["model.safetensors"]
    if missing := [name for name in names if not (path / name).is_file()]:
        raise error(FailureCode.WEIGHTS_MISSING, reason=f"there is no file {', '.join(missing)}")
    return [path / name for name in names]


def _read_pickles(path: Path, chosen: WeightFiles) -> dict[str, torch.Tensor]:
    """All tensors of the folder's pickles by their names.

    Transformers would read them in the same way (load_state_dict in modeling_utils.py), but only under its own file
    names, and without saying which of them is broken.
    """
    names = without_trainer_files(chosen.files)
    if chosen.index:
        try:
            index = json.loads((path / chosen.index).read_text(encoding="utf-8"))
        except (OSError, ValueError) as broken:
            raise error(FailureCode.CONFIG_BROKEN, file=chosen.index, reason=_first_line(broken)) from broken
        names = list(indexed_files(index, chosen, os.listdir(path)))
    weights: dict[str, torch.Tensor] = {}
    for name in names:
        weights |= _read_pickle(path / name)
    return weights


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    try:
        # Only files in PyTorch's newer format, which is zip, can stay on the disk until a tensor is wanted.
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as failed:
        if is_out_of_memory(failed):
            raise
        raise TurbodeskError(pickle_failure(failed, path.name)) from failed
    tensors = found.items() if isinstance(found, dict) else ()
    # A tensor on the meta device has a shape and no numbers.
    weights = {key: value for key, value in tensors if isinstance(value, torch.Tensor) and not value.is_meta}
    if not weights:
        raise error(FailureCode.WEIGHTS_BROKEN, file=path.name, reason="it holds no tensors with names")
    return weights


def _count_weights(files: list[Path]) -> int:
    """How many numbers the files hold; the packed ones of AWQ count eight to an int32."""
    count = 0
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    packed = 8 if name.endswith(".qweight") else 1
                    count += packed * math.prod(file.get_slice(name).get_shape())
        except (SafetensorError, OSError) as broken:
            raise error(
                FailureCode.WEIGHTS_BROKEN, file=path.name, reason=_first_line(broken), detail=traceback.format_exc()
            ) from broken
    return count


def _choose_dtype(config: Any, asked: str, weights: int, device: str) -> torch.dtype:
    """float32 on a CPU when it takes at most a quarter of the memory that is free, else 16 bits.

    Most processors have no 16-bit arithmetic and would widen every weight at every step.
    """
    if device == "cpu" and weights * 4 <= psutil.virtual_memory().available / 4:
        return torch.float32
    own = getattr(config.get_text_config(), "dtype", None) or config.dtype
    if asked != "auto":
        chosen: torch.dtype = getattr(torch, asked)
        return chosen
    return own if own in (torch.float16, torch.bfloat16) and device != "cpu" else torch.bfloat16


def _model_class(config: Any) -> Any:
    # Some models that read pictures have a class for their text part alone, which is not what the folder holds.
    seeing = AutoModelForImageTextToText._model_mapping.get(type(config), None)
    if seeing is not None and seeing.__name__ in (config.architectures or ()):
        return AutoModelForImageTextToText
    known = AutoModelForCausalLM._model_mapping
    if type(config) in known or "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return AutoModelForCausalLM
    if seeing is not None:
        return AutoModelForImageTextToText
    raise _unsupported(config, "Transformers has no text generation for it")


def _check_complete(found: dict[str, Any], file: str, packed: bool) -> None:
    """Raise where the weights of the files and those of the model are not the same set of tensors."""
    if missing := sorted(found["missing_keys"]):
        raise error(FailureCode.WEIGHTS_MISSING, reason=f"there is no tensor {_some(missing)}")
    if mismatched := sorted(str(item[0]) for item in found["mismatched_keys"]):
        raise error(
            FailureCode.WEIGHTS_BROKEN,
            file=file,
            reason=f"the shape of {_some(mismatched)} is not the one in config.json",
            detail="\n".join(map(str, found["mismatched_keys"])),
        )
    # Ordinary checkpoints may carry more than the model has (other heads); a packed one we took apart ourselves.
    if packed and (extra := sorted(found["unexpected_keys"])):
        raise error(FailureCode.WEIGHTS_BROKEN, file=file, reason=f"the model has no place for {_some(extra)}")


def _progress_hook(on_progress: Callable[[float], None]) -> Callable[..., Any]:
    """Makes the progress bars of Transformers report to on_progress instead of drawing on stderr."""

    def make(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        items = args[0] if args else kwargs.get("iterable")
        if items is None:
            return factory(*args, **{**kwargs, "disable": True})
        return _counted(list(items), on_progress)

    return make


def _counted(items: list[Any], on_progress: Callable[[float], None]) -> Any:
    for done, item in enumerate(items):
        yield item
        on_progress((done + 1) / len(items))


def _unsupported(config: Any, reason: str, detail: str = "") -> TurbodeskError:
    name = ", ".join(config.architectures or []) or config.model_type
    return error(FailureCode.ARCHITECTURE_UNSUPPORTED, architecture=name, reason=reason, detail=detail)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _first_line(failed: BaseException) -> str:
    lines = str(failed).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(failed).__name__
