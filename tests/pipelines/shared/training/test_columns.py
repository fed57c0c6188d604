import torch

from pipelines.shared.manifests import read_manifest
from pipelines.shared.pixels import clip_pixels, image_pixels
from pipelines.shared.shards import read_shard
from pipelines.shared.training.columns import (
    Captions,
    DecodedClips,
    DecodedImages,
    FrameMasks,
    Groups,
    MediaShape,
    StoredRows,
    StoredTextRows,
)
from pipelines.shared.training.order import Pick
from pipelines.shared.training.split import read_split

PICKS = [Pick(2, 0, False), Pick(0, 1, True), Pick(2, 1, False)]


def test_stored_columns():
    rows = torch.arange(12.0).reshape(4, 3)
    assert torch.equal(StoredRows(rows)(PICKS), rows[[2, 0, 2]])
    assert torch.equal(StoredTextRows(rows)(PICKS), rows[[0, 1, 1]])
    assert Captions(("a", "b"))(PICKS) == ["a", "b", "b"]
    assert torch.equal(Groups()(PICKS), torch.tensor([2, 0, 2]))


def test_decoded_images(tmp_path, write_pack):
    folder = write_pack(tmp_path / "p", {"train": 3})
    split = read_split(folder, read_manifest(folder), "train")
    samples = list(read_shard(folder, split.shards[0]))
    pixels = DecodedImages(split, 8)(PICKS)
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, torch.stack([image_pixels(samples[row], 8) for row in (2, 0, 2)]))


def test_decoded_clips_hold_frames_and_mask(tmp_path, write_pack):
    folder = write_pack(tmp_path / "p", {"train": 4}, media="video")
    split = read_split(folder, read_manifest(folder), "train")
    samples = list(read_shard(folder, split.shards[0]))
    column = DecodedClips(split, 8, 4)
    packed = column(PICKS)
    assert packed.shape == (3, 4, 3 * 64 + 1)
    for place, row in enumerate((2, 0, 2)):
        pixels, mask = clip_pixels(samples[row], 8, 4)
        assert torch.equal(packed[place, :, :-1].reshape(pixels.shape), pixels)
        assert torch.equal(packed[place, :, -1].bool(), mask)
        assert torch.equal(FrameMasks(column)(PICKS)[place], mask)


def test_size_of_decoded_pixels(tmp_path, write_pack):
    folder = write_pack(tmp_path / "p", {"train": 4})
    split = read_split(folder, read_manifest(folder), "train")
    assert MediaShape(media="image", side_px=8).num_bytes(split) == 4 * 3 * 64
    assert MediaShape(media="video", side_px=8, num_frames=5).num_bytes(split) == 4 * 5 * 3 * 64
