"""Tars of other makers: what belongs to no sample stands aside, what cannot be told is refused by name."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset import tariterators
from webdataset.writer import TarWriter

from pipelines.shared.losses import Losses
from pipelines.shared.tar_samples import split_name, tar_samples
from pipelines.shared.tars import TarError, content_of
from tests.pipelines.tar_making import END, file, header, pax, write_tar

PAIR = [("0.png", b"red"), ("0.txt", b"a red one")]
NEXT = [("1.png", b"blue"), ("1.txt", b"a blue one")]
WHOLE = {"0.png": "a red one", "1.png": "a blue one"}


def samples(path: Path, **options: bool) -> tuple[dict[str, str], dict[str, int]]:
    """Texts by the names of pictures, and what was left out."""
    losses, found = Losses("a.tar"), {}
    with path.open("rb") as handle:
        for sample in tar_samples(handle, frozenset({"txt"}), losses, **options):
            text = b"|".join(content_of(handle, each) for each in sample.texts.values())
            found |= {member.name: text.decode() for member in sample.media}
    return found, dict(losses.counts)


def of(folder: Path, members: list[tuple[str, bytes]], **options: bool) -> tuple[dict[str, str], dict[str, int]]:
    write_tar(folder / "a.tar", members)
    return samples(folder / "a.tar", **options)


DOUBLE = b"\0\5\x16\7\0\2\0\0"
ASIDE = {
    "copies of attributes": ([("._0.png", DOUBLE), PAIR[0], ("._0.txt", DOUBLE), PAIR[1], *NEXT], {"mac_member": 2}),
    "folder of attributes": ([PAIR[0], ("__MACOSX/._0.png", DOUBLE), PAIR[1], *NEXT], {"mac_member": 1}),
    "file of the Finder": ([(".DS_Store", b"\0\0\0\1Bud1"), *PAIR, *NEXT], {"mac_member": 1}),
    "README": ([("LICENSE", b"x"), PAIR[0], ("README.md", b"x"), PAIR[1], ("data.csv", b"x"), *NEXT], {}),
    "README of text": ([PAIR[0], ("README.txt", b"x"), PAIR[1], *NEXT], {"no_media": 1}),
    "columns that nobody reads": ([PAIR[0], ("0.cls", b"1"), PAIR[1], NEXT[0], ("1.npy", b"x"), NEXT[1]], {}),
    "__bad__ and code": ([PAIR[0], ("0.__bad__", b"x"), ("0.pyd", b"x"), PAIR[1], *NEXT], {}),
}


@pytest.mark.parametrize("name", ASIDE)
def test_what_belongs_to_no_sample_stands_aside(tmp_path: Path, name: str) -> None:
    members, counts = ASIDE[name]
    assert of(tmp_path, members) == (WHOLE, counts)


REFUSED = {
    "member '0.png' stands there twice": [*PAIR, *NEXT, ("0.png", b"blue"), ("0.txt", b"a blue one")],
    "member '0.txt' stands there twice": [*PAIR, ("./0.txt", b"another")],
    "the sample '0' has two members 'png'": [*PAIR, ("0.PNG", b"blue")],
    "the sample '0' has two members 'txt'": [*PAIR, ("0.TXT", b"another")],
    "members of the sample '0' stand apart.*sorted by name": [PAIR[0], NEXT[0], PAIR[1], NEXT[1]],
    "members of the sample '1' stand apart": [*PAIR, NEXT[1], ("2.png", b"x"), NEXT[0]],
    "member '/x/0.png' has an absolute name": [("/x/0.png", b"red"), ("/x/0.txt", b"x")],
    r"member '\.\./0.png' leads out of the tar": [("../0.png", b"red")],
    r"member 'x/\.\./0.txt' leads out of the tar": [("x/../0.txt", b"red")],
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_tar_is_refused_by_the_name_of_the_member(tmp_path: Path, message: str) -> None:
    with pytest.raises(TarError, match=message):
        of(tmp_path, REFUSED[message])


def test_links_devices_and_sparse_members_are_counted_and_not_followed(tmp_path: Path) -> None:
    sparse = pax({"GNU.sparse.major": "1", "GNU.sparse.name": "5.png", "GNU.sparse.realsize": "99999999999"})
    blocks = [file(*(part if isinstance(part, bytes) else part.encode() for part in pair)) for pair in PAIR]
    blocks += [
        header(b"2.png", kind=b"1"),
        header(b"3.png", kind=b"2"),
        header(b"4.png", kind=b"3"),
        header(b"d", kind=b"5"),
    ]
    (tmp_path / "a.tar").write_bytes(b"".join([*blocks, sparse, file(b"GNUSparseFile.0/5", b"x"), END]))
    counts = {"link_member": 2, "special_member": 1, "sparse_member": 1}
    assert samples(tmp_path / "a.tar") == ({"0.png": "a red one"}, counts)


def test_names_that_are_no_text_cost_their_sample(tmp_path: Path) -> None:
    blocks = [
        file(b"0.png", b"red"),
        file(b"0.txt", b"a red one"),
        file(b"caf\xe9.png", b"x"),
        file(b"caf\xe9.txt", b"y"),
    ]
    blocks += [pax({"path": "n\0.png"}), file(b"x", b"x"), file(b"e\x1b[0m.png", b"x")]
    (tmp_path / "a.tar").write_bytes(b"".join([*blocks, END]))
    assert samples(tmp_path / "a.tar") == ({"0.png": "a red one"}, {"name_refused": 4})


def test_names_as_tar_c_dot_writes_them_and_in_capitals(tmp_path: Path) -> None:
    members = [
        ("./in.v1/0.PNG", b"x"),
        ("./in.v1/0.TXT", b"a"),
        ("./in.v1/\u202e1.JPeG", b"y"),
        ("./in.v1/\u202e1.txt", b"b"),
    ]
    assert of(tmp_path, members) == ({"./in.v1/0.PNG": "a", "./in.v1/\u202e1.JPeG": "b"}, {})


def test_dots_in_keys_are_named_and_can_be_set(tmp_path: Path) -> None:
    members = [("img.1.jpg", b"x"), ("img.1.txt", b"a"), ("img.2.jpg", b"y"), ("img.2.txt", b"b")]
    assert of(tmp_path, members) == ({}, {"dotted_name": 1})
    assert of(tmp_path, members, by_last_dot=True) == ({"img.1.jpg": "a", "img.2.jpg": "b"}, {})
    assert of(tmp_path, [("0.seg.png", b"s"), *PAIR]) == ({"0.png": "a red one"}, {}), "a map of the same picture"
    assert split_name("a.b/c.d.JPG") == ("a.b/c", "d.jpg") and split_name("a.b/c", by_last_dot=True) == ("a.b/c", "")


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text("ab/é-_ ", min_size=1, max_size=12).filter(
            lambda key: "//" not in f"/{key}/" and key.strip(" /") != ""
        ),
        st.tuples(st.binary(max_size=20), st.text(max_size=20).filter(str.isprintable)),
        max_size=5,
    )
)
def test_samples_are_those_of_webdataset(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, tuple[bytes, str]]
) -> None:
    path = tmp_path_factory.mktemp("tars") / "a.tar"
    with TarWriter(str(path)) as writer:
        for key, (media, text) in content.items():
            writer.write({"__key__": key, "jpg": media, "txt": text})
    with path.open("rb") as handle:
        files = [{**each, "__url__": ""} for each in tariterators.tar_file_iterator(handle)]
    theirs = {each["__key__"] + ".jpg": each["txt"].decode() for each in tariterators.group_by_keys(files)}
    assert samples(path) == (theirs, {})
