"""Against `tarfile` on honest tars; bounds on all others."""

import gzip
import io
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset.writer import TarWriter

from pipelines.shared import tars
from pipelines.shared.tars import Member, TarError, content_of, tar_members
from tests.pipelines.tar_making import END, base256, file, header, padded, pax, write_tar

NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1, max_size=130)
KINDS = {tarfile.DIRTYPE: "folder", tarfile.LNKTYPE: "link", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "special"}


def members_of(path: Path) -> list[Member]:
    with path.open("rb") as handle:
        return list(tar_members(handle))


def made(folder: Path, *blocks: bytes, end: bytes = END) -> Path:
    path = folder / "a.tar"
    path.write_bytes(b"".join(blocks) + end)
    return path


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(st.tuples(NAMES, st.binary(max_size=600), st.sampled_from([b"0", *KINDS])), max_size=4),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_members_are_those_of_tarfile(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes, bytes]], form: int
) -> None:
    path = tmp_path_factory.mktemp("tars") / "a.tar"
    with tarfile.open(path, "w", format=form) as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "target" if kind in (b"1", b"2") else ""
            info.size = len(content) if kind == b"0" else 0
            archive.addfile(info, io.BytesIO(content) if kind == b"0" else None)
    with tarfile.open(path, "r:") as archive, path.open("rb") as handle:
        theirs = archive.getmembers()
        ours = list(tar_members(handle))
        assert [(each.name.rstrip("/"), each.offset, each.num_bytes) for each in ours] == [
            (each.name.rstrip("/"), each.offset_data, each.size) for each in theirs
        ]
        for one, other in zip(ours, theirs, strict=True):
            expected = "folder" if one.name.endswith("/") and other.type == b"0" else KINDS.get(other.type, "file")
            assert one.kind == expected
            if one.kind == "file":
                assert content_of(handle, one) == archive.extractfile(other).read()


def test_long_names_of_ustar_and_of_webdatasets_writer(tmp_path: Path) -> None:
    long = "/".join(["f" * 40] * 4) + ".jpg"
    write_tar(tmp_path / "ustar.tar", [(long, b"x")], tarfile.USTAR_FORMAT)
    assert [each.name for each in members_of(tmp_path / "ustar.tar")] == [long]
    with TarWriter(str(tmp_path / "theirs.tar"), encoder=False) as writer:
        writer.write({"__key__": "f" * 150, "txt": b"a caption", "jpg": b"\xff\xd8"})
    found = members_of(tmp_path / "theirs.tar")
    assert [(each.name, each.num_bytes) for each in found] == [("f" * 150 + ".jpg", 2), ("f" * 150 + ".txt", 9)]


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_tars_of_tar(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"j" * 700)
    (folder / "b.jpg").hardlink_to(folder / "a.jpg")
    (folder / "c.jpg").symlink_to("a.jpg")
    with (folder / "d.jpg").open("wb") as handle:
        handle.truncate(1 << 20)
        handle.seek(1 << 20)
        handle.write(b"end")
    sparse = ["-S"] if form in ("oldgnu", "gnu", "posix") else []
    command = [
        "tar",
        f"--format={form}",
        *sparse,
        "--sort=name",
        "-cf",
        str(tmp_path / "a.tar"),
        "-C",
        str(folder),
        ".",
    ]
    subprocess.run(command, check=True)
    found = {each.place: each for each in members_of(tmp_path / "a.tar") if each.place}
    assert {name: each.kind for name, each in found.items()} == {
        "a.jpg": "file",
        "b.jpg": "link",
        "c.jpg": "link",
        "d.jpg": "sparse" if sparse else "file",
    }
    with (tmp_path / "a.tar").open("rb") as handle:
        assert content_of(handle, found["a.jpg"]) == b"j" * 700
    if sparse:
        assert found["d.jpg"].num_bytes < 1 << 16, "nothing is filled in"


REFUSED = {
    "negative size": [header(b"a", base256(-1))],
    "size that leads back to its own header": [header(b"a", base256(-512))],
    "size beyond the file": [header(b"a", 10_000)],
    "huge size": [header(b"a", base256(2**80))],
    "size of signs": [header(b"a", b"-0000001000\0")],
    "size with underscores": [header(b"a", b"0000_1000\0\0\0")],
    "negative size in pax": [pax({"size": "-512"}), header(b"a")],
    "huge size in pax": [pax({"size": "9" * 19}), header(b"a")],
    "endless size in pax": [pax({"size": "9" * 5000}), header(b"a")],
    "long name beyond the file": [header(b"././@LongLink", 5000, kind=b"L")],
    "endless long name": [file(b"././@LongLink", b"n" * 70_000, kind=b"L"), header(b"a")],
    "pax header of 2 MiB": [pax({"comment": "c" * (2 << 20)}), header(b"a")],
    "damaged pax record": [file(b"x", b"99 path=a\n", kind=b"x"), header(b"a")],
    "pax record without an end": [file(b"x", b"8 path=a", kind=b"x"), header(b"a")],
    "17 headers before one member": [pax({"comment": "c"})] * 17 + [header(b"a")],
    "header before no member": [pax({"path": "a"})],
    "one name for all": [pax({"path": "a"}, kind=b"g"), header(b"b")],
    "one size for all": [pax({"size": "1"}, kind=b"g"), header(b"b")],
    "hard link with bytes": [header(b"a", 512, kind=b"1"), bytes(512)],
    "checksum": [header(b"a").replace(b"ustar", b"Ustar")],
    "sparse map without an end": [header(b"a", kind=b"S", magic=b"ustar  \0", tail=bytes(96) + b"\1")],
    "a second tar": [file(b"a", b"x"), END, file(b"b", b"y")],
    "junk behind the end": [file(b"a", b"x"), END, b"junk"],
    "no tar": [b"<html>" * 300],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_breaks_a_bound_is_refused_at_once(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, *REFUSED[name], end=b"" if name.startswith("sparse") else END)
    start = time.process_time()
    with pytest.raises(TarError, match=r"byte|end mark"):
        members_of(path)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "content", [gzip.compress(b"x" * 2000, mtime=0), b"\xfd7zXZ\0" + bytes(600), b"BZh9" + bytes(600)]
)
def test_a_compressed_tar_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TarError, match=r"compressed with \w+: unpack it first"):
        members_of(made(tmp_path, content, end=b""))


def test_sparse_members_are_named_and_not_filled(tmp_path: Path) -> None:
    real = b"%011o\0" % (2**33 - 1)
    old = header(b"old.png", 512, kind=b"S", magic=b"ustar  \0", tail=bytes(96) + b"\0" + real) + bytes(512)
    new = {"GNU.sparse.major": "1", "GNU.sparse.name": "new.png", "GNU.sparse.realsize": "99999999999"}
    oldest = {"GNU.sparse.size": "99999999999", "GNU.sparse.map": "0,1"}
    path = made(tmp_path, old, pax(new), file(b"GNUSparseFile.0/x", b"m"), pax(oldest), file(b"3.png", b"m"))
    found = members_of(path)
    assert [(each.name, each.kind) for each in found] == [(name, "sparse") for name in ("old.png", "new.png", "3.png")]
    assert sum(each.num_bytes for each in found) == 514


@pytest.mark.parametrize(
    "name,place",
    [
        (b"a.jpg", "a.jpg"),
        (b"./x//./a.jpg", "x/a.jpg"),
        (b"/a.jpg", None),
        (b"../a.jpg", None),
        (b"x/../a.jpg", None),
        (b"..a/b..jpg", "..a/b..jpg"),
        (b"caf\xe9.jpg", None),
        ("café\u202e.jpg".encode(), "café\u202e.jpg"),
        (b"a\x1b[2J.jpg", None),
        (b".", None),
    ],
)
def test_places_lead_nowhere_else(tmp_path: Path, name: bytes, place: str | None) -> None:
    (member,) = members_of(made(tmp_path, file(name, b"x")))
    assert member.place == place and member.name == name.decode(errors="surrogateescape")
    assert member.is_utf8 is (b"\xe9" not in name)


def test_a_name_of_pax_with_nul_has_no_place(tmp_path: Path) -> None:
    (member,) = members_of(made(tmp_path, pax({"path": "a\0.jpg"}), file(b"x", b"x")))
    assert member.place is None


def test_names_go_with_their_headers(tmp_path: Path) -> None:
    """GNU's headers have times where POSIX has the start of a name."""
    gnu = header(b"a.jpg", magic=b"ustar  \0", prefix=b"14000000000\x0014000000000\0")
    long = file(b"././@LongLink", b"l" * 200 + b"\0", kind=b"L")
    path = made(tmp_path, gnu, header(b"b.jpg", prefix=b"in/here"), long, header(b"l" * 100), header(b"c/"))
    found = [(each.name, each.kind, each.is_extended) for each in members_of(path)]
    assert found == [
        ("a.jpg", "file", False),
        ("in/here/b.jpg", "file", False),
        ("l" * 200, "file", True),
        ("c/", "folder", False),
    ]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    """No short member, and no member less, without an error."""
    whole = pax({"path": "ä" * 60}) + file(b"x", b"a" * 700) + file(b"b", b"b" * 512) + header(b"c")
    for length in sorted(
        {*range(0, len(whole) + 512, 61), *range(0, len(whole) + 512, 512), *range(1, len(whole), 512)}
    ):
        with pytest.raises(TarError):
            members_of(made(tmp_path, (whole + END)[:length], end=b""))
    for length in (512, 513, 1024):
        assert len(members_of(made(tmp_path, whole, end=bytes(length)))) == 3


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 3583), st.integers(0, 255)), min_size=1, max_size=6), fix=st.booleans())
def test_damage_is_refused_or_stays_inside_the_file(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], fix: bool
) -> None:
    content = bytearray(pax({"path": "aa"}) + file(b"x", b"a" * 700) + file(b"b", b"b") + END)
    for place, value in flips:
        content[place] = value
    for start in (0, 1024, 3072):
        if fix and any(content[start : start + 512]):
            block = content[start : start + 148] + b" " * 8 + content[start + 156 : start + 512]
            content[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    path = made(tmp_path_factory.mktemp("tars"), bytes(content), end=b"")
    try:
        found = members_of(path)
    except TarError:
        return
    ends = [0] + [each.offset + each.num_bytes for each in found]
    assert all(each.offset > 0 and each.num_bytes >= 0 for each in found) and max(ends) <= len(content)
    assert all(start <= each.offset for start, each in zip(ends, found, strict=False)), "members do not overlap"


def test_members_are_at_most_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "MAX_MEMBERS", 3)
    assert len(members_of(made(tmp_path, *[header(b"a")] * 3))) == 3
    with pytest.raises(TarError, match="more than 3 members"):
        members_of(made(tmp_path, *[header(b"a")] * 4))


def test_a_tar_that_became_shorter(tmp_path: Path) -> None:
    path = made(tmp_path, file(b"a", b"x" * 900))
    with path.open("rb") as handle:
        (member,) = tar_members(handle)
        path.write_bytes(path.read_bytes()[:600])
        with pytest.raises(TarError, match="'a' ends at byte 600"):
            content_of(handle, member)


def test_many_members_take_time_in_proportion(tmp_path: Path) -> None:
    path = made(tmp_path, *[padded(header(b"a%d" % number)) for number in range(20_000)])
    start = time.process_time()
    assert len(members_of(path)) == 20_000
    assert time.process_time() - start < 3
