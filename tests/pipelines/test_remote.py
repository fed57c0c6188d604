"""A build goes to a DVC remote and comes back elsewhere, where it verifies without any stage being run."""

from pathlib import Path

from tests.pipelines.crawl_site import digests
from tests.pipelines.small_job import command, commit, write_project


def test_push_clone_pull_verify(tmp_path: Path) -> None:
    project, clone, remote = write_project(tmp_path / "project"), tmp_path / "clone", tmp_path / "remote"
    command(project, "dvc", "repro", "--quiet", "annotate@emoji")
    command(project, "dvc", "remote", "add", "--default", "storage", str(remote))
    command(project, "dvc", "push", "--quiet")
    commit(project, "a build")
    command(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    assert not (clone / "data").exists()
    command(clone, "dvc", "pull", "--quiet", "annotate@emoji", "--with-deps")
    found = command(clone, "python3", "-m", "pipelines.verify")
    assert "data/crawl/emoji" in found and "data/annotate/emoji" in found and " 0 problems" in found
    assert "up to date" in command(clone, "dvc", "status", "annotate@emoji", "crawl@emoji")
    assert digests(clone / "data") == digests(project / "data")
