"""What the benchmark of metrics runs: inputs, our side, a peer's side, and how far their results may differ."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metrics.shared.ranking import place
from tests.benchmarks.harness import Contest

RECALLS = (1, 5, 10)


def network_features(num_rows: int, width: int, seed: int) -> Tensor:
    """Correlated and rectified, as a network's; float32 [num_rows, width]."""
    mix = torch.randn(width, width, generator=torch.Generator().manual_seed(0)) / width**0.5
    generator = torch.Generator().manual_seed(seed)
    shift = 0.05 * torch.randn(width, generator=generator)
    return (torch.randn(num_rows, width, generator=generator) @ mix + shift).relu()


def frechet(quick: bool, *, num_rows: int, peer: str) -> Contest:
    """The distance from moments that are known, or from rows where these are fewer than the dimensions."""
    from metrics.shared.frechet import FeatureSet, Moments, frechet_distance

    width = 64 if quick else 2048
    sets = [network_features(num_rows * width // 2048, width, seed) for seed in (1, 2)]
    moments = [Moments.of(rows) for rows in sets]
    peers = {"torchmetrics": torchmetrics_trace, "torch_fidelity": torch_fidelity_trace, "scipy": scipy_trace}
    return Contest(
        ours=lambda: frechet_distance(*(FeatureSet(*each) for each in zip(sets, moments, strict=True))),
        peer=peers[peer](*((each.mean, each.covariance) for each in moments)),
        difference=lambda one, other: abs(one / other - 1),
        tolerance=1e-6,
    )


def torchmetrics_trace(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Callable[[], float]:
    """The peer's distance from means and covariances; so are the next two."""
    from torchmetrics.image.fid import _compute_fid

    return lambda: float(_compute_fid(*one, *other))


def torch_fidelity_trace(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Callable[[], float]:
    """Eigenvalues of the product, in numpy."""
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    arrays = [{"mu": mean.numpy(), "sigma": covariance.numpy()} for mean, covariance in (one, other)]
    return lambda: fid_statistics_to_metric(*arrays, False)["frechet_inception_distance"]


def scipy_trace(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Callable[[], float]:
    """The square root of the product, as pytorch-fid and clean-fid have it."""
    from scipy.linalg import sqrtm

    shift = (one[0] - other[0]).square().sum().item() + (one[1].trace() + other[1].trace()).item()
    return lambda: shift - 2 * np.trace(sqrtm(one[1].numpy() @ other[1].numpy())).real


def kernel_distance(quick: bool) -> Contest:
    """All pairs and an interval, against the peer's default of 100 random subsets of 1,000."""
    from torchmetrics.image.kid import KernelInceptionDistance

    from metrics.kid import Config, Metric

    num_rows, subsets, subset_size = (200, 20, 100) if quick else (5000, 100, 1000)
    one, other = (network_features(num_rows, 2048, seed) for seed in (1, 2))

    class Given(torch.nn.Module):
        num_features = 2048

        def forward(self, images: Tensor) -> Tensor:
            return images

    def ours() -> float:
        metric = Metric(Config(detector="inception", weights_file="none.pth", weights_sha256="0" * 64))
        metric.update(reference_features=one, generated_features=other)
        return metric.compute()["kid"].value

    def torchmetrics() -> tuple[float, float]:
        torch.manual_seed(0)
        metric = KernelInceptionDistance(feature=Given(), subsets=subsets, subset_size=subset_size)
        metric.update(one, real=True)
        metric.update(other, real=False)
        mean, deviation = metric.compute()
        return float(mean), float(deviation) / subsets**0.5

    def standard_errors(value: float, result: tuple[float, float]) -> float:
        return abs(value - result[0]) / result[1]

    return Contest(ours=ours, peer=torchmetrics, difference=standard_errors, tolerance=3)


def recalls(image: Tensor, text: Tensor, owner: Tensor) -> dict[str, float]:
    """Ours, in both directions."""
    by_text, by_image = place(image, text, owner)
    return {
        f"{name}@{k}": float(placement.recall(k).mean())
        for name, placement in (("text_to_image", by_text), ("image_to_text", by_image))
        for k in RECALLS
    }


def embeddings(num_images: int, captions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images, texts near their image, and the image of each text."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(num_images, 512, generator=generator)
    owner = torch.arange(num_images).repeat_interleave(captions)
    text = image[owner] + 5 * torch.randn(len(owner), 512, generator=generator)
    normal = torch.nn.functional.normalize
    return normal(image, dim=1), normal(text, dim=1), owner


def largest_difference(one: dict[str, float], other: dict[str, float]) -> float:
    """Of results by the same names."""
    assert one.keys() == other.keys(), f"{sorted(one)} are not {sorted(other)}"
    return max(abs(one[name] - other[name]) for name in one)


def many_captions(quick: bool) -> Contest:
    """Five captions an image, found by any of them."""
    from clip_benchmark.metrics.zeroshot_retrieval import evaluate

    image, text, owner = embeddings(100 if quick else 5000, 5)

    class Given(torch.nn.Module):
        def encode_image(self, rows: Tensor) -> Tensor:
            return rows

        def encode_text(self, rows: Tensor) -> Tensor:
            return rows

    def batches() -> Iterator[tuple[Tensor, list[list[int]]]]:
        for start in range(0, len(image), 64):  # the peer's default
            rows = range(start, min(start + 64, len(image)))
            yield image[rows.start : rows.stop], [[5 * row + place for place in range(5)] for row in rows]

    def clip_benchmark() -> dict[str, float]:
        found = evaluate(Given(), batches(), lambda places: text[places], "cpu", amp=False, recall_k_list=[*RECALLS])
        names = {"image_retrieval_recall": "text_to_image", "text_retrieval_recall": "image_to_text"}
        return {f"{ours}@{k}": found[f"{theirs}@{k}"] for theirs, ours in names.items() for k in RECALLS}

    return Contest(
        ours=lambda: recalls(image, text, owner), peer=clip_benchmark, difference=largest_difference, tolerance=1e-4
    )


def one_caption(quick: bool) -> Contest:
    """One caption an image, all that the peer knows."""
    from open_clip_train.train import get_clip_metrics

    image, text, owner = embeddings(100 if quick else 5000, 1)

    def open_clip() -> dict[str, float]:
        found = get_clip_metrics(image, text, torch.tensor(100.0))
        return {
            f"{name}@{k}": float(found[f"{name}_R@{k}"]) for name in ("text_to_image", "image_to_text") for k in RECALLS
        }

    return Contest(
        ours=lambda: recalls(image, text, owner), peer=open_clip, difference=largest_difference, tolerance=1e-4
    )


def cached_pairs(quick: bool) -> Contest:
    """CLIP score of embeddings that are there, with intervals of 1,000 resamples."""
    from metrics.clip_score import Config, Metric

    image, text, owner = embeddings(500 if quick else 100_000, 1)

    def ours() -> float:
        metric = Metric(Config(num_resamples=1000))
        metric.update(pair_image_embeddings=image, pair_text_embeddings=text, pair_owner=owner)
        return metric.compute()["clip_score"].value

    return Contest(ours=ours)


def inception_file(folder: Path) -> tuple[Path, str]:
    """Random weights of the Inception network of FID in a file, and its sha256."""
    from torchvision.models.inception import Inception3

    from metrics.shared.weights import draw_weights

    with torch.device("meta"):
        shapes = {name: slot.shape for name, slot in Inception3(1008, False, init_weights=False).state_dict().items()}
    weights = draw_weights(shapes, key=1)
    for name, values in weights.items():
        if name.endswith(("bn.weight", "running_var")):
            values.fill_(1)
    path = folder / "inception.pth"
    torch.save(weights, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def inception(quick: bool) -> Contest:
    """Features of pictures, resized as the peer does by default."""
    from torchmetrics.image.fid import NoTrainInceptionV3

    from metrics.shared.detectors import DetectorSpec

    num_images, side_px = (2, 64) if quick else (32, 256)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num_images, 3, side_px, side_px), dtype=torch.uint8, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        path, sha256 = inception_file(Path(folder))
        spec = DetectorSpec(name="inception", resize="torch-antialias", weights_file=str(path), weights_sha256=sha256)
        detector = spec.load()
        network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path))

    def torchmetrics() -> Tensor:
        with torch.no_grad():
            return torch.cat([network(part) for part in images.split(16)])

    def difference(one: Tensor, other: Tensor) -> float:
        return ((one - other).abs().max() / other.abs().max()).item()

    return Contest(
        ours=lambda: detector(images), peer=torchmetrics, difference=difference, tolerance=1e-4, amount=num_images
    )
