"""A pack's test split on disk and small models, for the tests of evaluation."""

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
from PIL import Image
from torch import Tensor

from pipelines.shared.manifests import Counts, Manifest, write_manifest
from pipelines.shared.records import Caption, Sample
from pipelines.shared.shards import FileInfo, describe, write_shard

SHADES = tuple(range(0, 242, 22))


def write_pack(folder: Path) -> Path:
    """Grey squares; each has a human caption `grey <shade>`, the even ones a second one, all a web one.

    The training split has as many, one level lighter.
    """
    infos = (write_split(folder, "test", SHADES, 0), write_split(folder, "train", [each + 1 for each in SHADES], 100))
    counts = Counts(num_in=2 * len(SHADES), kept=2 * len(SHADES))
    write_manifest(folder, Manifest(stage="pack", instance="web", settings_digest="0", counts=counts, shards=infos))
    return folder


def write_split(folder: Path, split: str, shades: Sequence[int], first_key: int) -> FileInfo:
    samples = []
    for index, shade in enumerate(shades):
        handle = io.BytesIO()
        Image.new("RGB", (24, 24), (shade, shade, shade)).save(handle, "PNG")
        texts = [("human", f"grey {shade}"), ("web", "untitled")]
        texts += [("human", f"also {shade}")] if index % 2 == 0 else []
        captions = tuple(Caption(text=text, origin=origin) for origin, text in texts)
        key, facts = f"{first_key + index:020x}", {"source": "odd" if index % 2 else "even"}
        samples.append(Sample(key=key, extension="png", media=handle.getvalue(), captions=captions, facts=facts))
    write_shard(folder / split / "00000.tar", samples)
    return describe(folder / split / "00000.tar", folder, len(samples))


class TwoTowers(torch.nn.Module):
    """Embeds a picture and a caption by their shade; a perfect retriever."""

    image_px = 8

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    @staticmethod
    def turn(shade: Tensor) -> Tensor:
        angle = shade / 255 * 3
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    def encode_image(self, image: Tensor) -> Tensor:
        self.calls += 1
        return self.turn((image.mean(dim=(1, 2, 3)) + 1) * 127.5)

    def encode_text(self, captions: list[str]) -> Tensor:
        return self.turn(torch.tensor([float(text.split()[-1]) for text in captions]))


class Writer(torch.nn.Module):
    """Describes a picture rightly."""

    image_px = 8

    def caption(self, image: Tensor, generators: list[torch.Generator], **decoding: object) -> list[str]:
        return [f"grey {value:.0f}" for value in ((image.mean(dim=(1, 2, 3)) + 1) * 127.5).tolist()]


class Painter(torch.nn.Module):
    """Paints the shade that the caption names, with noise of its own."""

    image_px = 8
    conditional = True

    def generate(self, captions: list[str], generators: list[torch.Generator], **sampling: object) -> Tensor:
        shades = torch.tensor([float(text.split()[-1]) / 127.5 - 1 for text in captions])
        noise = torch.stack([torch.randn(3, 8, 8, generator=generator) for generator in generators])
        return (shades[:, None, None, None] + 0.01 * noise).clamp(-1, 1)


class Copier(torch.nn.Module):
    """Returns what it is given; knows likelihoods and codes of it."""

    image_px = 8
    codebook_size = 256

    def reconstruct(self, image: Tensor) -> Tensor:
        return image

    def log_likelihood(self, image: Tensor, generators: list[torch.Generator], offset: float = 0.0) -> Tensor:
        noise = torch.stack([torch.rand((), generator=generator) for generator in generators])
        return image.sum(dim=(1, 2, 3)) + noise + offset

    def encode_codes(self, image: Tensor) -> Tensor:
        return ((image[:, 0] + 1) * 127.5).round().long().flatten(1)


def run_of(model: torch.nn.Module, key: str = "m") -> SimpleNamespace:
    return SimpleNamespace(
        key=key, module="clip", model=model, sha256=key * 4, pack="web", device=torch.device("cpu"), document={}
    )
