"""The Inception-v3 that FID is defined on, which is not the one of torchvision, made from torchvision's.

Sources: Szegedy et al. 2016, arXiv:1512.00567; Heusel et al. 2017, arXiv:1706.08500 (features of the last pooling, 2048
numbers, of the TensorFlow graph of 2015-12-05). The converted weights that PyTorch tools share
(`weights-inception-2015-12-05-6726825d.pth` or `pt_inception-2015-12-05-6726825d.pth`) have torchvision's names.

Differs from torchvision's network: average pooling leaves the padding out of its mean, the last block pools by maximum,
the classifier has 1008 outputs, there is no auxiliary head.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import inception as tv

_average_pool = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
_max_pool = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)


class InceptionFeatures(nn.Module):
    """float32 [B, 3, 299, 299] in [0, 255] -> float32 [B, 2048]."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """Raises RuntimeError when the weights are not those of this network."""
        super().__init__()
        average = [_pooling(block, _average_pool) for block in (tv.InceptionA, tv.InceptionC, tv.InceptionE)]
        blocks = [tv.BasicConv2d, average[0], tv.InceptionB, average[1], tv.InceptionD, average[2], tv.InceptionAux]
        network = tv.Inception3(num_classes=1008, aux_logits=False, inception_blocks=blocks, init_weights=False)
        network.Mixed_7c = _pooling(tv.InceptionE, _max_pool)(2048)
        network.load_state_dict(weights)
        network.fc = nn.Identity()
        self.network = network.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Features of images of the network's size."""
        return self.network((images - 128) / 128)


def _pooling(block: type[nn.Module], pool: Callable[[Tensor], Tensor]) -> type[nn.Module]:
    """The block's class with another pooling in its last branch."""

    class Pooling(block):  # type: ignore[valid-type,misc]
        def _forward(self, x: Tensor) -> list[Tensor]:
            *branches, _ = super()._forward(x)
            return [*branches, self.branch_pool(pool(x))]

    return Pooling
