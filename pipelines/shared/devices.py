"""How a model runs: on the device that the setting says and never silently on another one, and reproducibly."""

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DEVICES: tuple[str, ...] = ("auto", "cpu", "cuda")
logger = logging.getLogger("vignette.devices")


def require_device(setting: str) -> None:
    """Checks the setting `device`.

    Raises:
        ValueError: It is unknown.
    """
    if setting not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {setting!r}")


def choose_device(setting: str, where: str) -> "torch.device":
    """The device that a setting names; `auto` takes a GPU if there is one, and says what it took.

    Under `torchrun` a process takes the GPU of its local rank.

    Args:
        setting: `auto`, `cpu` or `cuda`.
        where: What runs there, for messages.

    Raises:
        ValueError: The setting is unknown, or names a GPU and there is none.
    """
    import torch

    if setting not in DEVICES:
        raise ValueError(f"{where}: device must be one of {', '.join(DEVICES)}, got {setting!r}")
    has_gpu = torch.cuda.is_available()
    if setting == "cuda" and not has_gpu:
        raise ValueError(f"{where}: device is cuda, and PyTorch sees no GPU here; allowed: cpu, auto")
    if setting == "cpu" or not has_gpu:
        chosen = torch.device("cpu")
    else:
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if setting == "auto":
        what = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "no GPU"
        logger.info("%s: device %s (auto, %s)", where, chosen, what)
    return chosen


def make_deterministic(device: "torch.device", num_threads: int) -> None:
    """Deterministic operations: required on a CPU, preferred on a GPU; float32 products by TF32 there.

    Args:
        device: Where models will run.
        num_threads: CPU threads of this process; sums depend on them.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    is_gpu = device.type == "cuda"
    torch.set_num_threads(num_threads)
    torch.set_deterministic_debug_mode("warn" if is_gpu else "error")  # the other spelling imports torch.compile
    # off: it would write every new tensor twice, to make reads of unset memory repeatable
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if is_gpu:
        torch.set_float32_matmul_precision("high")
