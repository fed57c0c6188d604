"""A build goes to a DVC remote and comes back elsewhere, where it verifies without any stage being run."""

import shutil
from pathlib import Path

import boto3
import pytest

from tests.pipelines.crawl_site import digests
from tests.pipelines.small_job import command, commit, write_project


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = write_project(tmp_path_factory.mktemp("remote") / "project")
    command(project, "dvc", "repro", "--quiet", "annotate@emoji")
    return project


def push(build: Path, folder: Path, remote: str, **settings: str) -> Path:
    """A copy of the project whose build is in a remote."""
    project = folder / "project"
    shutil.copytree(build, project)
    command(project, "dvc", "remote", "add", "--default", "storage", remote)
    for name, value in settings.items():
        command(project, "dvc", "remote", "modify", "storage", name, value)
    command(project, "dvc", "push", "--quiet")
    commit(project, "a build")
    return project


def pull(project: Path, folder: Path) -> None:
    """A clone that has the build from the remote, and verifies."""
    clone = folder / "clone"
    command(folder, "git", "clone", "--quiet", str(project), str(clone))
    assert not (clone / "data").exists()
    command(clone, "dvc", "pull", "--quiet", "annotate@emoji", "--with-deps")
    found = command(clone, "python3", "-m", "pipelines.verify")
    assert "data/crawl/emoji" in found and "data/annotate/emoji" in found and " 0 problems" in found
    assert "up to date" in command(clone, "dvc", "status", "annotate@emoji", "crawl@emoji")
    assert digests(clone / "data") == digests(project / "data")


def test_a_folder(build: Path, tmp_path: Path) -> None:
    pull(push(build, tmp_path, str(tmp_path / "remote")), tmp_path)
    assert digests(tmp_path / "remote")


def test_an_s3_bucket(build: Path, tmp_path: Path, s3: str, s3_server: str) -> None:
    project = push(build, tmp_path, f"{s3}/builds", endpointurl=s3_server)
    stored = boto3.client("s3").list_objects_v2(Bucket=s3.removeprefix("s3://"))["Contents"]
    files = [path for path in (project / "data").rglob("*") if path.is_file()]
    assert len(stored) >= len(files) and all(each["Key"].startswith("builds/") for each in stored)
    pull(project, tmp_path)
