"""Which files of a model folder are its weights, by their names alone: what every engine takes, or may take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import msgspec

from desktop.domain.counting import counted
from desktop.domain.errors import FailureCode, error

SAFETENSORS_INDEX = "model.safetensors.index.json"
PICKLE_INDEX = "pytorch_model.bin.index.json"

_SAFETENSORS = "model.safetensors"
_PICKLE = "pytorch_model.bin"
_PICKLES = (".bin", ".pt", ".pth")
_TRAINER_FILES = frozenset(("training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "rng_state.pth"))
_NAME_LENGTH = 200  # characters of a name in a sentence; a hostile file may hold longer ones


class WeightFiles(msgspec.Struct, frozen=True, kw_only=True):
    """index: the file that names the weights files, "" where there is none. files: those that it does not name, sorted.

    pickles: whether they are pickle files, which can run programs when they are opened.
    """

    index: str = ""
    files: tuple[str, ...] = ()
    pickles: bool = False


def weight_files(names: Collection[str]) -> WeightFiles:
    """Choose among the names of a folder's files; nothing where none of them are weights.

    The order is LMDeploy's (create_checkpoint in turbomind/checkpoint.py). Its PyTorch engine and Transformers know
    fewer names (_get_weight_type in pytorch/weight_loader/model_weight_loader.py, _get_resolved_checkpoint_files in
    modeling_utils.py) and open a pickle where TurboMind would not: where they differ, pickles are chosen, and every
    pickle that one of them would open is named. Files with .pth no engine of LMDeploy opens, the CPU engine does.
    """
    if SAFETENSORS_INDEX in names:
        return WeightFiles(index=SAFETENSORS_INDEX)
    safetensors = tuple(sorted(name for name in names if name.endswith(".safetensors")))
    usual = tuple(name for name in safetensors if name.startswith("model"))
    if usual and (_SAFETENSORS in usual or not {_PICKLE, PICKLE_INDEX} & set(names)):
        return WeightFiles(files=usual)
    pickles = tuple(sorted(name for name in names if name.lower().endswith(_PICKLES)))
    if PICKLE_INDEX in names:
        beside = tuple(name for name in pickles if name == _PICKLE)
        return WeightFiles(index=PICKLE_INDEX, files=beside, pickles=True)
    if own := tuple(name for name in pickles if name.startswith("pytorch_model") and name.endswith(".bin")):
        return WeightFiles(files=own, pickles=True)
    if safetensors:
        return WeightFiles(files=safetensors)
    # TurboMind takes a trainer's files for weights where there are others of no usual name.
    return WeightFiles(files=pickles, pickles=True) if set(pickles) - _TRAINER_FILES else WeightFiles()


def without_trainer_files(names: Collection[str]) -> list[str]:
    """Those that can hold a model's weights."""
    return [name for name in names if name not in _TRAINER_FILES]


def indexed_files(index: object, chosen: WeightFiles, present: Collection[str]) -> dict[str, set[str]]:
    """The weights files that a decoded index names, in order, each with the tensors to be taken from it.

    present: the names of the folder's files. Raises TurbodeskError: config_broken, weights_missing.
    """
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise error(FailureCode.CONFIG_BROKEN, file=chosen.index, reason="it names no weights")
    tensors_of: defaultdict[str, set[str]] = defaultdict(set)
    for tensor, file in weight_map.items():
        tensors_of[file if type(file) is str else f"{file}"].add(tensor)
    endings = _PICKLES if chosen.pickles else (".safetensors",)
    for file in tensors_of:
        if not file.endswith(endings) or "/" in file or "\\" in file:
            reason = f"{file[:_NAME_LENGTH]!r} is not the name of a weights file"
            raise error(FailureCode.CONFIG_BROKEN, file=chosen.index, reason=reason)
    if missing := sorted(tensors_of.keys() - set(present)):
        more = f" and {counted(len(missing) - 1, 'more file')} are" if len(missing) > 1 else " is"
        raise error(FailureCode.WEIGHTS_MISSING, reason=f"{missing[0][:_NAME_LENGTH]}{more} not there")
    return dict(sorted(tensors_of.items()))
