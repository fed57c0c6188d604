"""A module that is used and never trained: no gradient, always in eval mode, absent from the checkpoint."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """Holds a module out of reach of training and of checkpoints.

    The module is not registered as a child. So it is absent from `parameters()` (optimizers, DDP's reducer),
    `state_dict()` and strict loading, and `train()`, `apply()` and `requires_grad_()` of a parent pass it by. It does
    follow `to()`, `cuda()`, `half()` and the like. `copy.deepcopy` copies it.

    Calling a `Frozen` runs the module without gradient. To let a gradient pass through to the inputs (a perceptual
    loss), call `module` itself.

    Attributes:
        module: The module that was given. It is changed in place: eval mode, and no parameter requires a gradient.
    """

    module: nn.Module

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.__dict__["module"] = module.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever `module(*args, **kwargs)` returns, computed without gradient."""
        return self.module(*args, **kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Frozen":
        self.module._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """The class of the module that is held."""
        return type(self.module).__name__
