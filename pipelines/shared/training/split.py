"""One split of a pack as training sees it: keys, captions, and where each picture's bytes are."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipelines.shared.files import digest_json
from pipelines.shared.manifests import Manifest
from pipelines.shared.records import Caption, Sample
from pipelines.shared.shards import FileInfo, read_shard
from pipelines.shared.tars import tar_members
from pipelines.shared.training.order import Choices


@dataclass(frozen=True, kw_only=True)
class Split:
    """All samples of a split, in shard order, without their pixels.

    Attributes:
        name: `train` or `val`.
        keys: Keys of the samples.
        extensions: Extension of each sample's picture or clip.
        captions: Captions of each sample.
        texts: All distinct captions, sorted by length, then alphabetically.
        media_digests: sha256 of each picture's or clip's bytes.
        folder: The pack's folder.
        shards: The split's shards.
    """

    name: str
    keys: tuple[str, ...]
    extensions: tuple[str, ...]
    captions: tuple[tuple[Caption, ...], ...]
    texts: tuple[str, ...]
    media_digests: tuple[str, ...]
    folder: Path
    shards: tuple[FileInfo, ...]

    def choices(self, weights: Mapping[str, float], *, flip: bool, seed: int) -> Choices:
        """The samples that a model trains on.

        Args:
            weights: Weights of caption origins; empty for a model that reads no captions, which takes every sample.
            flip: Whether half of the pictures are mirrored.
            seed: Seed of the choices.
        """
        text_rows = {text: row for row, text in enumerate(self.texts)}
        texts = [_by_origin(captions, weights, text_rows) for captions in self.captions]
        rows = tuple(row for row in range(len(self.keys)) if texts[row] or not weights)
        return Choices(
            keys=tuple(self.keys[row] for row in rows),
            rows=rows,
            texts=tuple(texts[row] for row in rows),
            weights=weights,
            flip=flip,
            seed=seed,
        )

    @cached_property
    def media_digest(self) -> str:
        """Digest of all pictures' bytes: equal for packs that differ in captions only."""
        return digest_json(list(self.media_digests))

    @cached_property
    def texts_digest(self) -> str:
        """Digest of `texts`."""
        return digest_json(list(self.texts))

    def sample(self, row: int) -> Sample:
        """A sample with its media bytes, read from the shard, without captions."""
        path, offset, num_bytes = self._places[row]
        descriptor = os.open(path, os.O_RDONLY)
        try:
            media = os.pread(descriptor, num_bytes, offset)
        finally:
            os.close(descriptor)
        assert len(media) == num_bytes, f"{path} ended early"
        return Sample(key=self.keys[row], extension=self.extensions[row], media=media, captions=())

    @cached_property
    def _places(self) -> list[tuple[Path, int, int]]:
        """Where each sample's media bytes are: shard, offset, size."""
        places: dict[str, tuple[Path, int, int]] = {}
        for info in self.shards:
            path = self.folder / info.name
            with path.open("rb") as handle:
                places |= {member.name: (path, member.offset, member.num_bytes) for member in tar_members(handle)}
        return [places[f"{key}.{extension}"] for key, extension in zip(self.keys, self.extensions, strict=True)]


def read_split(folder: Path, manifest: Manifest, name: str) -> Split:
    """Read a split of a pack once, from shards whose sha256 is checked.

    Args:
        folder: The pack's folder.
        manifest: Its manifest.
        name: `train` or `val`.
    """
    shards = tuple(info for info in manifest.shards if info.name.startswith(f"{name}/"))
    keys, extensions, captions, media = [], [], [], []
    for info in shards:
        for sample in read_shard(folder, info):
            keys.append(sample.key)
            extensions.append(sample.extension)
            captions.append(sample.captions)
            media.append(hashlib.sha256(sample.media).hexdigest())
    texts = {caption.text for each in captions for caption in each}
    return Split(
        name=name,
        keys=tuple(keys),
        extensions=tuple(extensions),
        captions=tuple(captions),
        texts=tuple(sorted(texts, key=lambda text: (len(text), text))),
        media_digests=tuple(media),
        folder=folder,
        shards=shards,
    )


def _by_origin(
    captions: Sequence[Caption], weights: Mapping[str, float], text_rows: Mapping[str, int]
) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for caption in captions:
        if caption.origin in weights:
            rows.setdefault(caption.origin, []).append(text_rows[caption.text])
    return rows
