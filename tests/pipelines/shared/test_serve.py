"""The local site."""

import http.client
from pathlib import Path

import pytest

from pipelines.shared.serve import serving


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


def test_nothing_to_serve() -> None:
    with serving(None) as port:
        assert port is None


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"), serving(tmp_path / "none"):
        pass
