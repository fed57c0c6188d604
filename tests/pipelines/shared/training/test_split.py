import pytest

from pipelines.shared.manifests import read_manifest
from pipelines.shared.shards import read_shard
from pipelines.shared.training.split import read_split


def read(folder, name="train"):
    return read_split(folder, read_manifest(folder), name)


def test_reads_every_sample_of_its_split_alone(tmp_path, write_pack):
    folder = write_pack(tmp_path / "p", {"train": 20, "val": 5}, samples_per_shard=8)
    split = read(folder)
    samples = [sample for info in split.shards for sample in read_shard(folder, info)]
    assert len(split.shards) == 3
    assert split.keys == tuple(sample.key for sample in samples)
    assert split.captions == tuple(sample.captions for sample in samples)
    assert [split.sample(row).media for row in range(20)] == [sample.media for sample in samples]
    assert not set(split.keys) & set(read(folder, "val").keys)
    assert read(folder, "test").keys == ()


def test_texts_are_distinct_and_sorted(tmp_path, write_pack):
    texts = read(write_pack(tmp_path / "p", {"train": 20})).texts
    assert list(texts) == sorted(set(texts), key=lambda text: (len(text), text))


def test_media_digest_is_of_pixels_alone(tmp_path, write_pack, monkeypatch):
    first = read(write_pack(tmp_path / "p", {"train": 4}))
    other = read(write_pack(tmp_path / "q", {"train": 4}, first=1))
    assert first.media_digest != other.media_digest
    import pipelines.shared.training.split as module

    real = module.read_shard
    monkeypatch.setattr(
        module,
        "read_shard",
        lambda folder, info: (
            type(s)(key=s.key, extension=s.extension, media=s.media, captions=()) for s in real(folder, info)
        ),
    )
    bare = read(tmp_path / "p")
    assert bare.media_digest == first.media_digest
    assert bare.texts_digest != first.texts_digest


def test_choices_leave_out_samples_without_a_wanted_caption(tmp_path, write_pack):
    split = read(write_pack(tmp_path / "p", {"train": 20}))
    origins = [{caption.origin for caption in captions} for captions in split.captions]
    human = split.choices({"human": 1.0}, flip=False, seed=0)
    assert human.rows == tuple(row for row in range(20) if "human" in origins[row])
    assert 0 < len(human.rows) < 20
    assert len(split.choices({}, flip=False, seed=0).rows) == 20
    both = split.choices({"human": 1.0, "web": 1.0}, flip=False, seed=0)
    assert len(both.rows) == 16
    for key, row, texts in zip(both.keys, both.rows, both.texts, strict=True):
        assert split.keys[row] == key
        shown = {(origin, split.texts[text]) for origin, rows in texts.items() for text in rows}
        assert shown == {(caption.origin, caption.text) for caption in split.captions[row]}


def test_a_changed_shard_is_refused(tmp_path, write_pack):
    folder = write_pack(tmp_path / "p", {"train": 3})
    path = folder / "train/00000.tar"
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="sha256 differ"):
        read(folder)
