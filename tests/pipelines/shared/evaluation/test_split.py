"""The held-out samples."""

from pathlib import Path

import pytest

from pipelines.shared.evaluation.split import HeldOut
from tests.pipelines.shared.evaluation.fakes import SHADES, write_pack


def test_captions_of_the_wanted_origin_and_their_owners(tmp_path: Path) -> None:
    split = HeldOut.load(write_pack(tmp_path), ("human",))
    assert len(split.samples) == len(SHADES)
    assert len(split.captions) == 17
    assert split.captions[:3] == ("grey 0", "also 0", "grey 22")
    assert split.owners[:3] == (0, 0, 1)
    assert split.images(8).shape == (len(SHADES), 3, 8, 8)
    assert split.images(8)[:, 0, 0, 0].tolist() == list(SHADES)


def test_digest_tells_captions_apart(tmp_path: Path) -> None:
    folder = write_pack(tmp_path)
    assert HeldOut.load(folder, ("human",)).sha256 != HeldOut.load(folder, ("human", "web")).sha256


def test_no_caption_of_that_origin(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no sample of the test split has a caption of synthetic"):
        HeldOut.load(write_pack(tmp_path), ("synthetic",))
