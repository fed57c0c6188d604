import pytest
import torch

from pipelines.shared.features import FeatureStore
from pipelines.shared.manifests import read_manifest
from pipelines.shared.training.columns import Captions, DecodedImages, Groups, MediaShape, StoredRows
from pipelines.shared.training.data import BatchRows, ToModel, TrainLoader, ValidationLoader, all_rows, media_column
from pipelines.shared.training.distributed import World
from pipelines.shared.training.order import DataOrder, Pick, in_order
from pipelines.shared.training.split import read_split

CPU = torch.device("cpu")
SHAPE = MediaShape(media="image", side_px=8)


@pytest.fixture
def split(tmp_path, write_pack):
    folder = write_pack(tmp_path / "p", {"train": 21})
    return read_split(folder, read_manifest(folder), "train")


def loader(split, pixels, *, world=None, accumulation=1, num_workers=0, batch_size=8):
    choices = split.choices({"web": 1.0, "human": 1.0}, flip=True, seed=5)
    return TrainLoader(
        rows=BatchRows({"image": pixels, "caption": Captions(split.texts), "group": Groups()}),
        order=DataOrder(choices, batch_size),
        to_model=ToModel(SHAPE, CPU),
        world=world or World(CPU),
        accumulation=accumulation,
        num_workers=num_workers,
    )


def equal(first, second):
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert one["caption"] == two["caption"]
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(one["group"], two["group"])


def joined(parts):
    return {
        "image": torch.cat([part["image"] for part in parts]),
        "group": torch.cat([part["group"] for part in parts]),
        "caption": [text for part in parts for text in part["caption"]],
    }


def test_cached_and_decoded_pixels_are_equal(split, tmp_path):
    store = FeatureStore(tmp_path / "store")
    cached = media_column(split, SHAPE, store, 1 << 20, 0)
    decoded = media_column(split, SHAPE, store, SHAPE.num_bytes(split) - 1, 0)
    assert isinstance(cached, StoredRows)
    assert isinstance(decoded, DecodedImages)
    equal(list(loader(split, cached).batches(0, 6)), list(loader(split, decoded).batches(0, 6)))


def test_pixels_are_decoded_once(split, tmp_path, monkeypatch):
    store = FeatureStore(tmp_path / "store")
    first = media_column(split, SHAPE, store, 1 << 20, 0)(all_rows(split))
    monkeypatch.setattr(DecodedImages, "__call__", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(media_column(split, SHAPE, store, 1 << 20, 0)(all_rows(split)), first)


def test_workers_change_nothing(split):
    pixels = DecodedImages(split, 8)
    alone = list(loader(split, pixels).batches(0, 5))
    equal(alone, list(loader(split, pixels, num_workers=2).batches(0, 5)))


def test_any_step_can_be_the_first(split):
    pixels = DecodedImages(split, 8)
    equal(list(loader(split, pixels).batches(0, 6))[4:], list(loader(split, pixels).batches(4, 6)))


@pytest.mark.parametrize(("size", "accumulation"), [(2, 1), (1, 4), (2, 2), (4, 2)])
def test_processes_and_micro_batches_cut_the_same_batch(split, size, accumulation):
    pixels = DecodedImages(split, 8)
    whole = list(loader(split, pixels).batches(0, 3))
    by_rank = [
        list(loader(split, pixels, world=World(CPU, rank, size), accumulation=accumulation).batches(0, 3))
        for rank in range(size)
    ]
    for step in range(3):
        own = slice(step * accumulation, (step + 1) * accumulation)
        equal([whole[step]], [joined([part for parts in by_rank for part in parts[own]])])


def test_to_model_scales_and_mirrors():
    pixels = torch.arange(2 * 3 * 2 * 2, dtype=torch.uint8).reshape(2, 3, 2, 2) * 10
    batch = ToModel(SHAPE, CPU)({"image": pixels, "flip": torch.tensor([False, True]), "caption": ["a", "b"]})
    assert set(batch) == {"image", "caption"}
    assert batch["image"].dtype == torch.float32
    assert torch.equal(batch["image"][0], pixels[0] / 127.5 - 1)
    assert torch.equal(batch["image"][1], pixels[1].flip(-1) / 127.5 - 1)


def test_to_model_unpacks_clips():
    frames = torch.randint(0, 256, (2, 4, 3, 8, 8), dtype=torch.uint8)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    packed = torch.cat([frames.flatten(2), mask[..., None].to(torch.uint8)], dim=2)
    shape = MediaShape(media="video", side_px=8, num_frames=4)
    batch = ToModel(shape, CPU)({"video": packed, "flip": torch.tensor([True, False])})
    assert torch.equal(batch["frame_mask"], mask)
    assert torch.equal(batch["video"][1], frames[1] / 127.5 - 1)
    assert torch.equal(batch["video"][0], frames[0].flip(-1) / 127.5 - 1)


def test_validation_parts(split):
    picks = in_order(split.choices({}, flip=True, seed=0))
    validation = ValidationLoader(
        rows=BatchRows({"group": Groups()}), picks=picks, to_model=ToModel(SHAPE, CPU), batch_size=8, part_size=4
    )
    assert [len(part["group"]) for part in validation.parts(16, 24)] == [4, 1]
    rows = torch.cat([part["group"] for start in (0, 8, 16) for part in validation.parts(start, start + 8)])
    assert rows.tolist() == list(range(21))


def test_picks_without_a_flip_are_left_alone():
    assert BatchRows({"group": Groups()}).__getitems__([Pick(1, -1, False)])["flip"].tolist() == [False]
