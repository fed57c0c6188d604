"""Detectors: right weights in the right places, stable features, errors that say what to do."""

import hashlib

import pytest
import torch
from skimage import data

from metrics.shared.detectors import CPU_BATCH, DETECTORS, LITE0_FILE, DetectorSpec, _packaged_weights
from metrics.shared.frechet import FeatureSet, frechet_distance, random_projection

PACKAGED = ("efficientnet-lite0", "random-vgg")


@pytest.fixture(scope="module", params=PACKAGED)
def detector(request):
    return DetectorSpec(name=request.param).load()


def photograph(name: str) -> torch.Tensor:
    """The middle square, uint8 [1, 3, side, side]."""
    image = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None]
    side = min(image.shape[2:])
    top, left = ((size - side) // 2 for size in image.shape[2:])
    return image[:, :, top : top + side, left : left + side]


def patches(num_patches: int, side_px: int = 48) -> torch.Tensor:
    photo, generator = photograph("coffee"), torch.Generator().manual_seed(0)
    corners = torch.randint(photo.shape[2] - side_px, (num_patches, 2), generator=generator).tolist()
    return torch.cat([photo[:, :, y : y + side_px, x : x + side_px] for y, x in corners])


def test_lite0_knows_its_classes():
    """The packaged classifier on our features names three photographs, so that every tensor is in its place."""
    spec = DetectorSpec(name="efficientnet-lite0")
    detector, weights = spec.load(), _packaged_weights(spec.digest)
    for name, label in (("chelsea", 285), ("coffee", 967), ("rocket", 657)):  # Egyptian cat, espresso, missile
        logits = detector(photograph(name)) @ weights["_fc.weight"].T + weights["_fc.bias"]
        assert logits.argmax().item() == label, name


def test_lite0_gives_what_its_own_network_gives():
    own = pytest.importorskip("efficientnet_lite_pytorch")
    spec = DetectorSpec(name="efficientnet-lite0")
    network = own.EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(_packaged_weights(spec.digest))
    images = patches(2, side_px=224)
    with torch.no_grad():
        theirs = network.extract_features(images / 127.5 - 1).mean((2, 3))
    assert torch.allclose(spec.load()(images), theirs, atol=1e-6)


def test_features_have_the_declared_form(detector):
    features = detector(patches(3))
    assert features.shape == (3, detector.num_features)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    kind = DETECTORS[detector.name]
    assert (detector.digest, detector.input_px, detector.resize) == (kind.digest, kind.input_px, kind.resize)


def test_features_do_not_depend_on_the_batch_by_a_bit(detector):
    """One by one, all at once, in another order, beside other images."""
    images, order = patches(6), torch.tensor([2, 5, 0, 4, 3, 1])
    alone = torch.cat([detector(image[None]) for image in images])
    assert torch.equal(detector(images), alone)
    assert torch.equal(detector(images[order]), alone[order])
    assert torch.equal(detector(torch.cat([255 - images[:1], images[1:]]))[1:], alone[1:])
    assert detector(images[:0]).shape == (0, detector.num_features)


@pytest.mark.parametrize("count", [0, 1, CPU_BATCH, CPU_BATCH + 1])
def test_all_batches_are_full(count):
    detector, seen = DetectorSpec(name="random-vgg").load(), []
    detector._network = lambda inputs: seen.append(len(inputs)) or torch.zeros(len(inputs), 64)
    assert detector(torch.zeros(count, 3, 8, 8, dtype=torch.uint8)).shape == (count, 64)
    assert set(seen) == {CPU_BATCH}


def test_another_resize_is_another_identity_and_other_features():
    usual, other = DetectorSpec(name="random-vgg"), DetectorSpec(name="random-vgg", resize="torch")
    assert usual == DetectorSpec(name="random-vgg", resize="clean")
    assert (usual.resize, usual.label, other.label) == ("clean", "random-vgg", "random-vgg-torch")
    assert usual.identity != other.identity
    images = patches(2, side_px=100)
    ours, theirs = usual.load()(images), other.load()(images)
    assert (ours - theirs).abs().max() > 0.01 * ours.abs().max()
    with pytest.raises(ValueError, match="resize must be one of clean, tf1"):
        DetectorSpec(name="random-vgg", resize="bilinear")


def test_noise_raises_the_distance(detector):
    """What a detector is for: more damage, more distance, in a projection too."""
    images, generator = patches(32), torch.Generator().manual_seed(0)
    reference, rest = images[:16], images[16:]
    noise = torch.randn(rest.shape, generator=generator)
    damaged = [(rest + scale * noise).round().clamp(0, 255).byte() for scale in (0, 40, 120)]
    projection = random_projection(detector.num_features, 2, seed=0)
    sets = [FeatureSet(detector(batch).double() @ projection) for batch in (reference, *damaged)]
    clean, some, much = (frechet_distance(sets[0], other) for other in sets[1:])
    assert clean < some < much


def test_random_vgg_has_no_trained_weights_and_keeps_scale():
    spec = DetectorSpec(name="random-vgg")
    network = spec.load()._network.network
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    assert len(weights) == 14
    for weight in weights:
        assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.05)
    assert 0.1 < spec.load()(patches(8)).std().item() < 10


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="one of efficientnet-lite0, inception, open-clip, random-vgg, got 'dino'"):
        DetectorSpec(name="dino")


def test_given_weights_are_for_inception_only(tmp_path):
    with pytest.raises(ValueError, match="its weights are fixed"):
        DetectorSpec(name="random-vgg", weights_file="x.pth", weights_sha256="0" * 64)
    with pytest.raises(ValueError, match="inception needs weights_file and weights_sha256"):
        DetectorSpec(name="inception", weights_file="x.pth", weights_sha256="abc")
    with pytest.raises(ValueError, match="does not exist"):
        DetectorSpec(name="inception", weights_file=str(tmp_path / "no.pth"), weights_sha256="0" * 64).load()


def test_wrong_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=f"must have sha256 {'0' * 64}, got"):
        DetectorSpec(name="inception", weights_file=str(path), weights_sha256="0" * 64).load()
    torch.save({"conv.weight": torch.zeros(1)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="does not hold the Inception-v3 of FID"):
        DetectorSpec(name="inception", weights_file=str(path), weights_sha256=digest).load()


def test_damaged_package_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "damaged_lite0"
    (package / LITE0_FILE).parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / LITE0_FILE).write_bytes(b"cut off")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("metrics.shared.detectors.LITE0_PACKAGE", "damaged_lite0")
    with pytest.raises(ValueError, match="must have sha256 5793"):
        DetectorSpec(name="efficientnet-lite0").load()
    monkeypatch.setattr("metrics.shared.detectors.LITE0_PACKAGE", "absent_lite0")
    with pytest.raises(ValueError, match="needs the package absent-lite0"):
        DetectorSpec(name="efficientnet-lite0").load()
