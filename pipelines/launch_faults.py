"""Why a server did not start: the end of its log, and a cure for the faults that are common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SHOWN_LINES = 15
_READ_BYTES = 256 * 1024
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NOISE = re.compile(r"^[\s=\-_^~|#*.]*$|^\s*warnings\.warn\(|it/s\]|^.*\d+%\|")

# The first that is found is shown, so the more particular come first.
_CURES = (
    (
        r"No module named '?vllm|No module named '?torch\b|PackageNotFoundError",
        "vLLM is not installed for this Python: run 'make setup', or name in launch.command the "
        "Python that has it.",
    ),
    (
        r"operator torchvision::nms does not exist",
        "torchvision does not fit torch here: run 'make setup', which installs what mends it.",
    ),
    (
        r"address already in use|Errno 98",
        "Another process took the port in between: start the run again.",
    ),
    (
        r"CPU Generator does not use offset",
        "vLLM on CPU dies of requests with a seed: take 'seed' out of the recipe's stages.",
    ),
    (
        r"out of memory|OutOfMemory|MemoryError|Cannot allocate memory|Free memory on device|"
        r"No available memory for the cache|KV cache is needed|less than desired|"
        r"not enough memory|bad_alloc",
        "Not enough memory: stop what else runs, wait for a server that is still shutting down, "
        "or give launch.args a smaller --max-model-len or another --gpu-memory-utilization "
        "(on CPU the size of the cache is VLLM_CPU_KVCACHE_SPACE in launch.env, in GiB).",
    ),
    (
        r"greater than the derived max_model_len|max_position_embeddings",
        "The model is not made for so long a context: lower --max-model-len in launch.args.",
    ),
    (
        r"Repo id must be|RepositoryNotFound|LocalEntryNotFound|OfflineMode|is not a local folder|"
        r"Invalid repository ID|couldn't connect to|not a valid model identifier|"
        r"does not appear to have a file named|config\.json",
        "The model is not there: launch.model must be a folder with a config.json, or a name on "
        "the Hub that this machine can download.",
    ),
    (
        r"unrecognized arguments|invalid choice|the following arguments are required",
        "This server does not know an argument above: vLLM 0.12 or later is needed, or give "
        "launch.command in full.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class LogEnd:
    """The end of a log: `shown` are its last lines with something in them, without colours."""

    shown: tuple[str, ...]
    all_text: str


def last_lines(path: Path, start: int) -> LogEnd:
    """Read the end of a log from byte `start` on; a log that is gone is an empty one."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(start, size - _READ_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return LogEnd(shown=(), all_text="")
    text = _ESCAPES.sub("", text)
    # A progress bar overwrites its line: only what stood there last counts.
    lines = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
    told = [line for line in lines if not _NOISE.search(line)]
    return LogEnd(shown=tuple(line[:300] for line in told[-SHOWN_LINES:]), all_text=text)


def cure_for(log: str, exit_code: int | None) -> str:
    """What to do about a server that ended with this log and exit code."""
    for pattern, cure in _CURES:
        if re.search(pattern, log, re.IGNORECASE):
            return cure
    if exit_code == 137:
        return "It was killed (SIGKILL), most likely for want of memory: use a smaller model."
    if exit_code == 127:
        return "The command could not be run: run 'make setup', or correct launch.command."
    return "The log has the whole story; launch.args and launch.env change how it is started."
