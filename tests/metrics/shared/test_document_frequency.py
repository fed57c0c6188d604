import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from metrics.shared.document_frequency import (
    DocumentFrequency,
    build_document_frequency,
    idf,
    read_document_frequency,
    write_document_frequency,
)

CAPTIONS = [["A dog runs.", "The dog runs, runs!"], ["a dog sleeps"], ["Two cats"]]


def test_images_are_counted_and_not_captions() -> None:
    frequency = build_document_frequency(CAPTIONS)
    assert frequency.num_images == 3
    assert frequency.images_with == {"a": 2, "dog": 2, "a dog": 2}


def test_leaving_out_what_one_image_has_changes_no_weight() -> None:
    """log(N / max(1, images)) of an n-gram seen once is that of one never seen."""
    frequency = build_document_frequency(CAPTIONS)
    assert frequency.idf(["dog", "cats", "giraffe"]) == pytest.approx(np.log([1.5, 3, 3]))
    assert idf(np.array([2, 1, 0]), 3) == pytest.approx(np.log([1.5, 3, 3]))


def test_bytes_do_not_depend_on_the_order_and_say_what_they_are(tmp_path: Path) -> None:
    for name, captions in (("one", CAPTIONS), ("other", [each[::-1] for each in CAPTIONS[::-1]])):
        write_document_frequency(build_document_frequency(captions), tmp_path / name)
    content = (tmp_path / "one").read_bytes()
    assert content == (tmp_path / "other").read_bytes()
    assert json.loads(content) == {
        "images_with": {"a": 2, "a dog": 2, "dog": 2},
        "max_n": 4,
        "num_images": 3,
        "tokenizer": "ptb",
    }
    frequency, sha256 = read_document_frequency(tmp_path / "one")
    assert frequency == build_document_frequency(CAPTIONS)
    assert sha256 == hashlib.sha256(content).hexdigest()


def test_any_word_is_written(tmp_path: Path) -> None:
    frequency = DocumentFrequency(num_images=5, images_with={'é "\\ 日本': 3, "-lrb-": 2})
    write_document_frequency(frequency, tmp_path / "frequency.json")
    assert read_document_frequency(tmp_path / "frequency.json")[0] == frequency


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": "spaces"}, "must be of tokenizer ptb"),
        ({"max_n": 3}, "max_n 4"),
        ({"num_images": 1}, "must have a num_images of at least 2, got 1"),
        ({"num_images": True}, "num_images of at least 2, got True"),
        ({"images_with": []}, "images_with by n-gram"),
        ({"images_with": {"a": 9}}, r"counts in \[2, 3\], got 9 for 'a'"),
        ({"images_with": {"a": 1}}, r"counts in \[2, 3\], got 1 for 'a'"),
        ({"images_with": {"a": 2.5}}, "got 2.5 for 'a'"),
        ({"more": 1}, "must hold images_with, max_n, num_images and tokenizer"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "frequency.json"
    write_document_frequency(build_document_frequency(CAPTIONS), path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=f"document_frequency .*frequency.json.*{message}"):
        read_document_frequency(path)


def test_no_file_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"document_frequency .*none.json does not exist"):
        read_document_frequency(tmp_path / "none.json")
    (tmp_path / "text").write_bytes(b"\xff{")
    with pytest.raises(ValueError, match="is not JSON"):
        read_document_frequency(tmp_path / "text")


@pytest.mark.parametrize("captions", [[], [["a dog"]]])
def test_one_image_is_no_corpus(captions: list[list[str]]) -> None:
    with pytest.raises(ValueError, match=f"at least 2 images, got {len(captions)}"):
        build_document_frequency(captions)
