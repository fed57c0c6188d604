import sys
from pathlib import Path

import pytest

from pipelines.shared.manifests import Counts, Manifest, write_manifest
from pipelines.shared.shards import describe
from pipelines.verify import main


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["verify"])
    Path("params.yaml").write_text("sources:\n  web: {module: url_list}\n")
    folder = Path("data/crawl/web")
    folder.mkdir(parents=True)
    (folder / "00000.tar").write_bytes(b"bytes")
    manifest = Manifest(
        stage="crawl",
        instance="web",
        settings_digest="0" * 64,
        counts=Counts(num_in=1, kept=1),
        shards=(describe(folder / "00000.tar", folder, 1),),
    )
    write_manifest(folder, manifest)
    return folder


def test_a_table_and_success(project, capsys):
    main()
    output = capsys.readouterr().out.splitlines()
    assert output[0].split() == ["data/crawl/web", "1", "files", "ok"]
    assert output[-1] == "1 files compared, 0 problems"


def test_the_bad_file_is_named_and_the_command_fails(project, capsys):
    (project / "00000.tar").write_bytes(b"other")
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    output = capsys.readouterr().out.splitlines()
    assert output[0].endswith("1 BAD")
    assert output[-2:] == ["data/crawl/web/00000.tar differs from manifest.json", "1 files compared, 1 problems"]


def test_no_project_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["verify"])
    with pytest.raises(SystemExit, match=r"vignette verify: params.yaml is missing"):
        main()


def test_refused_settings_are_one_line_without_a_bar(project, capsys):
    Path("params.yaml").write_text("sources:\n  my.site: {module: url_list}\n")
    with pytest.raises(SystemExit, match=r"vignette verify: params.yaml: sources: 'my.site' cannot be a name here"):
        main()
    assert capsys.readouterr().err == ""
