"""The local site."""

import hashlib
import http.client
import io
import tarfile
from pathlib import Path

import pytest

from pipelines.shared import serve
from pipelines.shared.files import file_digests
from pipelines.shared.serve import ServedFiles, serving
from tests.pipelines.tar_making import END, base256, file, header, pax


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_files_and_index(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "sub" / "index.html").write_text("hello")
    (tmp_path / "a b.txt").write_text("x")
    with serving(tmp_path) as port:
        assert get(port, "/sub/") == (200, b"hello")
        assert get(port, "/a%20b.txt") == (200, b"x")
        assert get(port, "/none")[0] == 404
        assert get(port, "/empty/")[0] == 404, "folders are not listed"
        assert get(port, "/../../../etc/passwd")[0] == 404
        assert get(port, "/%2e%2e/%2e%2e/etc/passwd")[0] == 404
    with pytest.raises(ConnectionRefusedError):
        get(port, "/sub/")
    assert capsys.readouterr() == ("", "")


def test_connections_stay_open(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with serving(tmp_path) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        for _ in range(3):
            connection.request("GET", "/x")
            answer = connection.getresponse()
            assert answer.read() == b"x" and not answer.will_close


def test_members_of_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in (("x y.txt", b"one"), ("./sub/z", b"three"), ("../out", b"no")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with serving(tmp_path) as port:
        assert get(port, "/a.tar/x%20y.txt") == (200, b"one")
        assert get(port, "/a.tar/sub/z") == (200, b"three")
        assert get(port, "/a.tar/none")[0] == 404
        assert get(port, "/a.tar/../out")[0] == 404
        assert get(port, "/none.tar/x")[0] == 404
        assert get(port, "/a.tar")[1] == (tmp_path / "a.tar").read_bytes()


def tar(path: Path, **files: bytes) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_a_tar_that_was_written_again(tmp_path: Path) -> None:
    with serving(tmp_path) as port:
        tar(tmp_path / "a.tar", x=b"one")
        assert get(port, "/a.tar/x") == (200, b"one")
        tar(tmp_path / "a.tar", w=b"zero", x=b"two")
        assert get(port, "/a.tar/x") == (200, b"two")


def test_digests_are_those_of_what_is_answered(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("index")
    (tmp_path / "a b.png").write_bytes(b"picture")
    (tmp_path / "none").write_bytes(b"")
    tar(tmp_path / "s.tar", **{"x.png": b"member"})
    files = ServedFiles(tmp_path, {"a b.png": hashlib.sha256(b"picture").hexdigest()})
    paths = ["/a%20b.png", "/a%20b.png?x=1", "/none", "/gone.png", "/a%20b.png/", "/s.tar/x.png", "/s.tar/y.png"]
    paths += ["/s.tar", "/../a%20b.png", "/%2e%2e/x", "/sub/index.html"]
    with serving(tmp_path) as port:
        for path in paths:
            status, body = get(port, path)
            expected = hashlib.sha256(body).hexdigest() if status == 200 else ""
            assert files.digest(f"http://localhost{path}") == expected, path
    assert files.digest("http://localhost/sub/") is None, "an index, a redirect or nothing: cannot be said"
    assert files.digest("http://localhost/sub") is None
    assert files.holds("http://localhost/x") and not files.holds("http://localhost.example/x")
    assert ServedFiles(tmp_path, file_digests(tmp_path)).digest("http://localhost/none") == hashlib.sha256().hexdigest()


def test_members_that_lead_elsewhere_or_are_no_files_are_not_there(tmp_path: Path) -> None:
    sparse = pax({"GNU.sparse.major": "1", "GNU.sparse.realsize": "99999999999"})
    blocks = [file(b"/abs", b"x"), file(b"in/../up", b"x"), header(b"link", kind=b"2"), sparse, file(b"sparse", b"x")]
    (tmp_path / "a.tar").write_bytes(b"".join([*blocks, file(b"good", b"good"), END]))
    (tmp_path / "bad.tar").write_bytes(header(b"x", base256(-512)) + END)
    with serving(tmp_path) as port:
        assert get(port, "/a.tar/good") == (200, b"good")
        for path in ("/a.tar/abs", "/a.tar//abs", "/a.tar/in/../up", "/a.tar/up", "/a.tar/link", "/a.tar/sparse"):
            assert get(port, path)[0] == 404, path
        assert get(port, "/bad.tar/x")[0] == 404


def test_a_tar_is_read_once_for_all_its_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = serve.tar_members
    monkeypatch.setattr(serve, "tar_members", lambda handle: reads.append(1) or read(handle))
    tar(tmp_path / "a.tar", **{f"{number}.png": b"%d" % number for number in range(200)})
    assert [serve.read_member(tmp_path / "a.tar", f"{number}.png") for number in range(200)] == [
        b"%d" % number for number in range(200)
    ]
    assert len(reads) == 1


def test_a_large_member_is_answered_in_pieces(tmp_path: Path) -> None:
    with (tmp_path / "a.tar").open("wb") as handle:
        handle.write(header(b"big", 64 << 20))
        handle.truncate(512 + (64 << 20))
        handle.seek(0, 2)
        handle.write(END)
    part = serve.open_member(tmp_path / "a.tar", "big")
    assert part.left == 64 << 20 and len(part.read(1 << 16)) == 1 << 16
    part.close()
    with serving(tmp_path) as port:
        assert len(get(port, "/a.tar/big")[1]) == 64 << 20


def test_names_of_any_kind_are_found_or_not_there(tmp_path: Path) -> None:
    for name in ("a%2Fb.png", "a+b c.png", "a'b&c=d.png", "ü#?.png"):
        (tmp_path / name).write_bytes(name.encode())
    tar(tmp_path / "s.tar", **{"x.png": b"member"})
    files = ServedFiles(tmp_path, {})
    paths = ["/a%252Fb.png", "/a+b%20c.png", "/a'b&c=d.png", "/a%27b%26c%3Dd.png", "/%C3%BC%23%3F.png", "/a%2Fb.png"]
    paths += [
        "/" + "x" * 300,
        "/" + "x" * 300 + ".png",
        "/" + "x" * 300 + ".tar/y.png",
        "/s.tar/" + "y" * 300,
        "/%00",
        "/%ED%A0%80",
    ]
    with serving(tmp_path) as port:
        answers = [get(port, path) for path in paths]
    assert [status for status, _ in answers] == [200] * 5 + [404] * 7
    for path, (status, body) in zip(paths, answers, strict=True):
        assert files.digest(f"http://localhost{path}") == (hashlib.sha256(body).hexdigest() if status == 200 else "")


def test_nothing_to_serve() -> None:
    with serving(None) as port:
        assert port is None


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"), serving(tmp_path / "none"):
        pass
