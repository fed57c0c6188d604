"""Which device a model runs on: what the setting says, and never another one silently."""

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DEVICES: tuple[str, ...] = ("auto", "cpu", "cuda")
logger = logging.getLogger("vignette.devices")


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
