"""What this machine can compute with, as far as it decides how a model is run."""

from __future__ import annotations

import shutil
from pathlib import Path

# Names of the instructions in the flags of Linux: x86-64 (two kinds) and Arm.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


def has_gpu() -> bool:
    """Whether this machine seems to have a GPU that vLLM can use."""
    devices = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()
    return devices or shutil.which("nvidia-smi") is not None


def cpu_has_bfloat16(info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies in bfloat16 itself; where Linux does not tell, True.

    One that does not emulates it, tens of times slower than float32 (docs/adr/0005).
    """
    try:
        lines = info.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return True
    flags = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return bool(_BFLOAT16.intersection(next(flags, "bf16").split()))
