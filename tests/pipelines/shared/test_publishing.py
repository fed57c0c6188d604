"""Publishing: until everything new is there, what was there before stays, whatever happens at whatever step."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from pipelines.shared.manifests import Counts, Manifest, read_manifest
from pipelines.shared.publishing import publish
from pipelines.shared.refusals import line_of
from pipelines.shared.shards import describe
from tests.chaos.killing import num_steps, run_faulty, run_killed
from tests.pipelines.crawl_site import digests


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class Job:
    """A stage that has two shards and a document to publish, all with one text."""

    def __init__(self, folder: Path) -> None:
        self.out, self.scratch = folder / "data/x", folder / "scratch"

    def publish(self, text: str) -> str:
        infos = []
        for name in ("a.tar", "train/b.tar"):
            path = self.scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(text)
            infos.append(describe(path, self.scratch, 1))
        counts = Counts(num_in=2, kept=2)
        manifest = Manifest(stage="pack", instance="x", settings_digest=text, counts=counts, shards=tuple(infos))
        return publish(self.out, manifest, self.scratch, {"audit.json": {"text": text}})

    def printed(self, text: str) -> None:
        """As a stage's command: an error is a line."""
        try:
            self.publish(text)
        except OSError as error:
            sys.exit(line_of(error))

    def text(self) -> str:
        """The text that is published, after all that the manifest lists was compared."""
        manifest = read_manifest(self.out)
        assert {info.check(self.out).read_text() for info in manifest.shards} == {manifest.settings_digest}
        assert json.loads((self.out / "audit.json").read_bytes())["text"] == manifest.settings_digest
        return manifest.settings_digest


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    job.publish("old")
    return job


def test_what_is_published(job: Job) -> None:
    assert job.text() == "old" and list(digests(job.out)) == ["a.tar", "audit.json", "manifest.json", "train/b.tar"]
    assert job.publish("new") == digests(job.out)["manifest.json"]
    assert job.text() == "new" and names(job.out.parent) == ["x"]


def replaced(path: Path) -> None:
    path.unlink()  # what is published is another link to the same file
    path.write_text("longer than it was")


@pytest.mark.parametrize("damage", [Path.unlink, replaced])
def test_a_file_that_has_changed_since(job: Job, damage) -> None:
    before = digests(job.out)
    info = describe(job.scratch / "a.tar", job.scratch, 1)
    damage(job.scratch / "a.tar")
    counts = Counts(num_in=1, kept=1)
    manifest = Manifest(stage="pack", instance="x", settings_digest="", counts=counts, shards=(info,))
    with pytest.raises(ValueError, match=r"a.tar is not there any more as it was written: run the same command again"):
        publish(job.out, manifest, job.scratch)
    assert digests(job.out) == before and names(job.out.parent) == ["x"]


def test_killed_at_every_step(job: Job) -> None:
    steps = num_steps(lambda: job.publish("1"))
    assert steps > 20
    for number in range(1, steps + 1):
        before, now = job.text(), f"kill-{number}"
        run_killed(lambda now=now: job.publish(now), number)
        assert job.text() in (before, now)
    job.publish("last")
    assert job.text() == "last" and names(job.out.parent) == ["x"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
def test_an_error_of_the_disk_at_every_step(job: Job, code: int) -> None:
    steps = num_steps(lambda: job.publish("1"))
    for number in range(1, steps + 1):
        before, now = job.text(), f"fault-{number}"
        status, said = run_faulty(lambda now=now: job.printed(now), number, code)
        assert job.text() in (before, now)
        if status:
            assert status == 1 and said.count("\n") == 1 and os.strerror(code) in said, said
            assert str(job.out.parent.parent) in said, "the line names the path"
    job.publish("last")
    assert job.text() == "last" and names(job.out.parent) == ["x"]


def test_a_folder_of_nothing_is_refused(job: Job) -> None:
    before = digests(job.out)
    for counts, said in (
        (Counts(num_in=0, kept=0), "pack x: nothing is kept of 0: nothing came in"),
        (
            Counts(num_in=5, kept=0, rejected={"too_small": 4}, failed={"http_404": 1}),
            "pack x: nothing is kept of 5: too_small 4, http_404 1",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{said}$"):
            publish(job.out, Manifest(stage="pack", instance="x", settings_digest="", counts=counts), job.scratch)
    assert digests(job.out) == before
