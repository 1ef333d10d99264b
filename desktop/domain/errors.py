"""Every failure: a stable code, a sentence for the user, a suggested next step."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class FailureCode(StrEnum):
    """Stable names of failures; they cross process borders and are stored with messages."""

    CHECKPOINT_NOT_FOUND = "checkpoint_not_found"
    CHECKPOINT_NOT_READABLE = "checkpoint_not_readable"
    NOT_A_CHECKPOINT = "not_a_checkpoint"
    CONFIG_BROKEN = "config_broken"
    WEIGHTS_MISSING = "weights_missing"
    WEIGHTS_BROKEN = "weights_broken"
    PICKLE_WEIGHTS = "pickle_weights"
    PICKLE_NOT_WEIGHTS = "pickle_not_weights"
    ARCHITECTURE_UNSUPPORTED = "architecture_unsupported"
    TOKENIZER_BROKEN = "tokenizer_broken"
    NO_CHAT_TEMPLATE = "no_chat_template"

    ENGINE_CONFIG_INVALID = "engine_config_invalid"
    BACKEND_UNAVAILABLE = "backend_unavailable"
    LOAD_FAILED = "load_failed"
    LOAD_CANCELLED = "load_cancelled"
    VIDEO_MEMORY_EXHAUSTED = "video_memory_exhausted"
    HOST_MEMORY_EXHAUSTED = "host_memory_exhausted"
    ENGINE_DIED = "engine_died"
    ENGINE_NOT_READY = "engine_not_ready"
    ENGINE_BROKE_PROTOCOL = "engine_broke_protocol"

    PROMPT_TOO_LONG = "prompt_too_long"
    REQUEST_INVALID = "request_invalid"
    REQUEST_FAILED = "request_failed"
    SERVER_UNREACHABLE = "server_unreachable"
    SERVER_REFUSED_KEY = "server_refused_key"
    NOT_A_SERVER = "not_a_server"
    JSON_NOT_CONTINUED = "json_not_continued"
    KV_CACHE_EXHAUSTED = "kv_cache_exhausted"

    DISK_FULL = "disk_full"
    STORAGE_NOT_WRITABLE = "storage_not_writable"
    DATABASE_BROKEN = "database_broken"
    DATABASE_TOO_NEW = "database_too_new"
    DATABASE_BUSY = "database_busy"
    ALREADY_OPEN = "already_open"
    SETTINGS_NOT_USED = "settings_not_used"
    EXPORT_FAILED = "export_failed"
    IMPORT_BROKEN = "import_broken"
    ATTACHMENT_REFUSED = "attachment_refused"
    SCAN_INCOMPLETE = "scan_incomplete"
    REMOVAL_REFUSED = "removal_refused"

    CODE_NOT_ALLOWED = "code_not_allowed"
    JOB_ENDED = "job_ended"
    NOT_TRUSTED_AGAIN = "not_trusted_again"
    HUB_UNREACHABLE = "hub_unreachable"
    HUB_BUSY = "hub_busy"
    HUB_ANSWER_BROKEN = "hub_answer_broken"
    MODEL_NOT_ON_HUB = "model_not_on_hub"
    MODEL_GATED = "model_gated"
    TOKEN_REFUSED = "token_refused"
    TOKEN_NOT_KEPT = "token_not_kept"
    DOWNLOAD_DAMAGED = "download_damaged"
    DOWNLOAD_NO_ROOM = "download_no_room"
    DOWNLOAD_TARGET_TAKEN = "download_target_taken"
    DOWNLOAD_RUNS_ELSEWHERE = "download_runs_elsewhere"

    QUANTIZATION_REFUSED = "quantization_refused"
    CALIBRATION_UNUSABLE = "calibration_unusable"
    WEIGHTS_NOT_FINITE = "weights_not_finite"
    RESULT_BROKEN = "result_broken"
    JOB_TARGET_TAKEN = "job_target_taken"
    JOB_NO_ROOM = "job_no_room"
    JOB_OUT_OF_MEMORY = "job_out_of_memory"
    EVALUATION_IMPOSSIBLE = "evaluation_impossible"
    JOB_CANCELLED = "job_cancelled"
    JOB_FAILED = "job_failed"
    JOB_DIED = "job_died"

    INTERNAL = "internal"


class Action(StrEnum):
    """What one click can do about a failure; the window turns it into a button."""

    NONE = ""
    CHOOSE_MODEL = "choose_model"
    CONNECT = "connect"
    RELOAD = "reload"
    CONTINUE = "continue"
    REGENERATE = "regenerate"
    NEW_CHAT = "new_chat"
    RETRY_SAVE = "retry_save"
    SHOW_MODELS = "show_models"
    SHOW_JOBS = "show_jobs"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failure, ready to be shown, stored, or sent between processes.

    message: what happened, one sentence. next_step: what the user can do, one sentence.
    action: the click that does it, if there is one. detail: text for the copyable box (log lines, traceback).
    setting: what the click changes of the settings of a load before it (fields of EngineConfig), if anything.
    """

    code: FailureCode
    message: str
    next_step: str
    action: Action = Action.NONE
    detail: str = ""
    setting: dict[str, Any] = {}


class TurbodeskError(Exception):
    """Carries a Failure through Python code."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.message} {failure.next_step}")
        self.failure = failure


_C, _A = FailureCode, Action

# code -> (message, next step, action). Braces are filled from the keywords given to failure().
_WORDS: dict[FailureCode, tuple[str, str, Action]] = {
    _C.CHECKPOINT_NOT_FOUND: (
        "There is no model folder at {path}.",
        "Choose the folder that holds the model's config.json.",
        _A.CHOOSE_MODEL,
    ),
    _C.CHECKPOINT_NOT_READABLE: (
        "Turbodesk may not read {path}.",
        "Give yourself read permission for the folder and its files, or choose another model.",
        _A.CHOOSE_MODEL,
    ),
    _C.NOT_A_CHECKPOINT: (
        "{path} is not a model folder: {reason}.",
        "Choose the folder that holds config.json and the .safetensors files.",
        _A.CHOOSE_MODEL,
    ),
    _C.CONFIG_BROKEN: (
        "{file} of this model cannot be read: {reason}.",
        "Download that file again, or choose another model.",
        _A.CHOOSE_MODEL,
    ),
    _C.WEIGHTS_MISSING: (
        "The model's weights are incomplete: {reason}.",
        "Download the missing files, or choose another model.",
        _A.CHOOSE_MODEL,
    ),
    _C.WEIGHTS_BROKEN: (
        "The weights file {file} is damaged: {reason}.",
        "Download that file again.",
        _A.CHOOSE_MODEL,
    ),
    _C.PICKLE_WEIGHTS: (
        "This model's weights are a pickle file ({file}), which can run any program when it is opened.",
        "Load it from the models page, which names its files and asks, or use a copy with .safetensors files.",
        _A.SHOW_MODELS,
    ),
    _C.PICKLE_NOT_WEIGHTS: (
        "{file} is more than weights: opening it would use {what}, so it was not loaded.",
        "Be careful with this model; use a copy with .safetensors files from a source that you trust.",
        _A.CHOOSE_MODEL,
    ),
    _C.ARCHITECTURE_UNSUPPORTED: (
        "No engine here can run the architecture {architecture}: {reason}.",
        "Choose a model of another family; the engine's list of families is in LMDeploy's documentation.",
        _A.CHOOSE_MODEL,
    ),
    _C.TOKENIZER_BROKEN: (
        "The model's tokenizer or chat template cannot be used: {reason}.",
        "Download the tokenizer files again, or choose another model.",
        _A.CHOOSE_MODEL,
    ),
    _C.NO_CHAT_TEMPLATE: (
        "{model} has no chat template: it was made to complete text, not to chat, and may answer nothing.",
        "Choose the instruct or chat version of the model.",
        _A.CHOOSE_MODEL,
    ),
    _C.ENGINE_CONFIG_INVALID: (
        "These load settings cannot work: {reason}.",
        "Change the setting and load again.",
        _A.NONE,
    ),
    _C.BACKEND_UNAVAILABLE: (
        "The engine {backend} cannot run here: {reason}.",
        "Choose another engine, or leave the choice to Turbodesk.",
        _A.NONE,
    ),
    _C.LOAD_FAILED: (
        "The model could not be loaded: {reason}.",
        "See the details, then load again or choose another model.",
        _A.RELOAD,
    ),
    _C.LOAD_CANCELLED: ("Loading was stopped.", "Load the model again when you are ready.", _A.RELOAD),
    _C.VIDEO_MEMORY_EXHAUSTED: (
        "There was not enough video memory {when}.",
        "Lower the cache ratio, use an int4 KV cache or a 4-bit model, or close other programs on the card.",
        _A.RELOAD,
    ),
    _C.HOST_MEMORY_EXHAUSTED: (
        "There was not enough memory in this machine {when}.",
        "Close other programs or choose a smaller model.",
        _A.RELOAD,
    ),
    _C.ENGINE_DIED: (
        "The engine process stopped {when}: {reason}.",
        "Start it again; what was written so far is kept.",
        _A.RELOAD,
    ),
    _C.ENGINE_NOT_READY: ("No model is loaded.", "Load a model first.", _A.RELOAD),
    _C.ENGINE_BROKE_PROTOCOL: (
        "The engine process sent something that is not a message: {reason}.",
        "It was stopped to be safe; start it again.",
        _A.RELOAD,
    ),
    _C.PROMPT_TOO_LONG: (
        "This conversation is too long for the model: {reason}.",
        "Start a new chat, shorten the message, or load the model with a longer session length.",
        _A.NEW_CHAT,
    ),
    _C.REQUEST_INVALID: ("The engine refused the request: {reason}.", "Change the message or its settings.", _A.NONE),
    _C.REQUEST_FAILED: ("The reply failed: {reason}.", "Try again; the details say more.", _A.CONTINUE),
    _C.SERVER_UNREACHABLE: (
        "{place} does not answer: {reason}.",
        "See that the server runs and can be reached from here, then try again.",
        _A.RELOAD,
    ),
    _C.SERVER_REFUSED_KEY: (
        "{place} does not accept the key, or wants one.",
        "Connect again with the key that the server was started with.",
        _A.CONNECT,
    ),
    _C.NOT_A_SERVER: (
        "{place} is no server of models that Turbodesk understands: {reason}.",
        "Check the address; it is the one that ends in /v1 for other programs.",
        _A.CONNECT,
    ),
    _C.JSON_NOT_CONTINUED: ("The JSON of this reply cannot go on: {reason}.", "Have it written anew.", _A.REGENERATE),
    _C.KV_CACHE_EXHAUSTED: (
        "The KV cache had no room left for this conversation.",
        "Stop other replies, or load the model with a larger cache ratio or an int4 KV cache.",
        _A.CONTINUE,
    ),
    _C.DISK_FULL: (
        "The disk is full, so the conversation cannot be saved.",
        "Free some space: the text is kept in this window and is saved as soon as there is room.",
        _A.RETRY_SAVE,
    ),
    _C.STORAGE_NOT_WRITABLE: (
        "Turbodesk cannot write to {path}: {reason}.",
        "Make the folder writable, or start with --data-dir and another folder.",
        _A.RETRY_SAVE,
    ),
    _C.DATABASE_BROKEN: (
        "The conversation database {path} is damaged: {reason}.",
        "It was left as it is; restore it from the backup beside it, or start with --data-dir and an empty folder.",
        _A.NONE,
    ),
    _C.DATABASE_TOO_NEW: (
        "The conversations were saved by a newer Turbodesk (schema {found}, this one knows {known}).",
        "Use the newer version, or start with --data-dir and another folder.",
        _A.NONE,
    ),
    _C.DATABASE_BUSY: (
        "Another program holds the conversation database.",
        "Close the program that has it open: the text is kept in this window and saved afterwards.",
        _A.RETRY_SAVE,
    ),
    _C.ALREADY_OPEN: (
        "Turbodesk is already open on these conversations ({holder}).",
        "Use that window, or start a second one with --data-dir and another folder.",
        _A.NONE,
    ),
    _C.SETTINGS_NOT_USED: ("{reason}", "Look through the settings and set them again.", _A.NONE),
    _C.EXPORT_FAILED: (
        "The export to {path} could not be written: {reason}.",
        "Make room or give yourself write permission there, or export to another folder.",
        _A.NONE,
    ),
    _C.IMPORT_BROKEN: ("{file} cannot be imported: {reason}.", "Nothing was changed; choose another file.", _A.NONE),
    _C.ATTACHMENT_REFUSED: ("{file} cannot be attached: {reason}.", "Attach something else.", _A.NONE),
    _C.SCAN_INCOMPLETE: (
        "Only a part of {path} was searched for models: {reason}.",
        "Name the folders that hold the models instead.",
        _A.NONE,
    ),
    _C.REMOVAL_REFUSED: ("{path} was not removed: {reason}.", "Nothing was changed.", _A.NONE),
    _C.HUB_UNREACHABLE: (
        "{hub} cannot be reached: {reason}.",
        "Check the network and the hub's address, then try again; what was fetched is kept.",
        _A.NONE,
    ),
    _C.HUB_BUSY: (
        "{hub} is busy: {reason}.",
        "Wait some minutes, then try again; what was fetched is kept.",
        _A.NONE,
    ),
    _C.HUB_ANSWER_BROKEN: (
        "{hub} gave an answer that cannot be right: {reason}.",
        "Try again later, or get the model from another hub.",
        _A.NONE,
    ),
    _C.MODEL_NOT_ON_HUB: (
        "{hub} has no {what}.",
        "Check the name; a private model needs the token of an account that may see it.",
        _A.NONE,
    ),
    _C.MODEL_GATED: (
        "{model} is gated: {hub} gives it only to accounts that accepted its owner's conditions.",
        "Accept them at {page}, then enter a token of that account here.",
        _A.NONE,
    ),
    _C.TOKEN_REFUSED: (
        "{hub} does not accept the token.",
        "Make a new token with read permission in your account there, and enter it here.",
        _A.NONE,
    ),
    _C.TOKEN_NOT_KEPT: (
        "The {what} cannot be kept: {reason}.",
        "It is used until Turbodesk closes; to keep it, install a system keyring such as GNOME Keyring or KWallet.",
        _A.NONE,
    ),
    _C.DOWNLOAD_DAMAGED: (
        "{file} arrived twice with other content than {hub} publishes for it.",
        "Resume to fetch it once more, or get the model from another hub.",
        _A.NONE,
    ),
    _C.DOWNLOAD_NO_ROOM: (
        "There is no room for {model}: {reason}.",
        "Free some space, then resume; what was fetched is kept.",
        _A.NONE,
    ),
    _C.DOWNLOAD_TARGET_TAKEN: (
        "There is already something at {path}.",
        "Move it away or remove it, then resume.",
        _A.NONE,
    ),
    _C.DOWNLOAD_RUNS_ELSEWHERE: (
        "Another process is already fetching {model}.",
        "Wait for it, or end it and resume here.",
        _A.NONE,
    ),
    _C.CODE_NOT_ALLOWED: (
        "This model can be loaded only by running Python code that comes with it.",
        "Load it from the models page, which shows the code and asks.",
        _A.SHOW_MODELS,
    ),
    _C.JOB_ENDED: ("{title}: {how}.", "The Quantize page has the whole of it.", _A.SHOW_JOBS),
    _C.NOT_TRUSTED_AGAIN: (
        "The model was not loaded again, because running its own code or opening its pickles was not allowed: {path}.",
        "Load it from the models page, which shows what it would run and asks, or choose another model.",
        _A.SHOW_MODELS,
    ),
    _C.QUANTIZATION_REFUSED: (
        "{model} cannot be quantized like this: {reason}.",
        "Choose another method or another model.",
        _A.NONE,
    ),
    _C.CALIBRATION_UNUSABLE: (
        "{what} cannot be used as calibration text: {reason}.",
        "Choose another file, or use the text that comes with Turbodesk.",
        _A.NONE,
    ),
    _C.WEIGHTS_NOT_FINITE: (
        "The numbers of {layer} are not finite: {reason}.",
        "{advice}",
        _A.NONE,
    ),
    _C.RESULT_BROKEN: (
        "The quantized model did not pass its check: {reason}.",
        "It was removed; see the details, then try another method.",
        _A.NONE,
    ),
    _C.JOB_TARGET_TAKEN: (
        "There is already something at {path}.",
        "Choose another name for the result, or remove what is there.",
        _A.NONE,
    ),
    _C.JOB_NO_ROOM: (
        "There is no room for the result: {reason}.",
        "Free some space or choose a folder on another disk, then start again; nothing half-made is left.",
        _A.NONE,
    ),
    _C.JOB_OUT_OF_MEMORY: ("There was not enough {memory} {when}.", "{advice}", _A.NONE),
    _C.EVALUATION_IMPOSSIBLE: (
        "The two models cannot be compared: {reason}.",
        "Choose another text, or another pair of models.",
        _A.NONE,
    ),
    _C.JOB_CANCELLED: ("The job was stopped.", "Nothing half-made is left; start it again when you like.", _A.NONE),
    _C.JOB_FAILED: (
        "The job failed {when}: {reason}.",
        "See the details, then try again; nothing half-made is left.",
        _A.NONE,
    ),
    _C.JOB_DIED: (
        "The job's process stopped {when}: {reason}.",
        "Start it again; what it had written is removed then.",
        _A.NONE,
    ),
    _C.INTERNAL: ("Something went wrong inside Turbodesk: {reason}.", "Copy the details into a bug report.", _A.NONE),
}


def failure(code: FailureCode, *, detail: str = "", **facts: object) -> Failure:
    """Build the Failure for a code.

    facts fill the braces of the code's sentence (KeyError when one is missing: a programming error).
    """
    message, next_step, action = _WORDS[code]
    return Failure(
        code=code, message=message.format(**facts), next_step=next_step.format(**facts), action=action, detail=detail
    )


def error(code: FailureCode, *, detail: str = "", **facts: object) -> TurbodeskError:
    """The same as an exception, to be raised."""
    return TurbodeskError(failure(code, detail=detail, **facts))
