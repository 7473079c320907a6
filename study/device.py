"""Where a network computes: the device, and the precision."""

import os

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def default_device() -> torch.device:
    """Return the accelerator of this machine (CUDA, MPS, ...) if it has one, else the CPU."""
    if torch.accelerator.is_available():
        return torch.accelerator.current_accelerator()
    return torch.device("cpu")


def fast_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware computes in it, else float32.

    Decided by what the processor can do, not by timing, so that it is the same each time. The
    environment variable STUDY_PRECISION overrides it: float32 gives what a machine without fast
    bfloat16 would compute.
    """
    if chosen := os.environ.get("STUDY_PRECISION"):
        return _precision(chosen)
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        fast = can.get("avx512_bf16", False) or can.get("amx_bf16", False)
    else:
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


def _precision(name: str) -> torch.dtype:
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}")
    return PRECISIONS[name]


def where_to_train(
    device: str | None = None, precision: str | None = None
) -> tuple[torch.device, torch.dtype]:
    """Return the device and the precision of a training; None stands for the fastest there is.

    Raises:
        ValueError: the device or the precision is unknown.
    """
    try:
        device = default_device() if device is None else torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be one that torch knows, got {device!r}") from error
    return device, fast_precision(device) if precision is None else _precision(precision)
