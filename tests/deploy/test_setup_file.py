"""`--setup_file=./setup.py`: the package that Beam builds and sends to workers has all that they run."""

import tarfile
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.stager import Stager

from tests.pipelines.small_job import write_code

PACKAGES = ("pipelines", "models", "metrics")


def test_the_staged_package_has_all_code_and_page_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, staged = tmp_path / "project", tmp_path / "staged"
    write_code(project)
    staged.mkdir()
    monkeypatch.chdir(project)
    Stager.create_job_resources(PipelineOptions(["--setup_file=./setup.py"]), str(staged))
    (package,) = staged.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        sent = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        path.relative_to(project).as_posix()
        for name in PACKAGES
        for path in (project / name).rglob("*")
        if path.suffix in (".py", ".html", ".css", ".js")
    }
    assert len(wanted) > 100 and wanted - sent == set()
    assert not {name for name in sent if name.startswith(("tests/", "examples/"))}
