import sys
from pathlib import Path

import pytest

from pipelines.explain import main
from tests.pipelines.builders import Item, captions, key_of, write_crawl


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("sources:\n  web: {module: url_list}\n")
    write_crawl("web", [Item(name="gone", reason="deadline", captions=captions("a text"))])


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["explain", *arguments])
    main()


def test_it_prints_what_is_known(project, monkeypatch, capsys):
    call(monkeypatch, "http://web.test/gone")
    output = capsys.readouterr().out
    assert output.startswith(f"{key_of('web', 'gone')}  failed  deadline\n")
    assert "  0  web alt: a text\n" in output


def test_an_unknown_key_is_one_line(project, monkeypatch):
    with pytest.raises(SystemExit, match="vignette explain: no link of the crawled sources"):
        call(monkeypatch, "abcdef")


def test_help(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, "--help")
    assert stop.value.code == 0 and "or its URL" in capsys.readouterr().out
