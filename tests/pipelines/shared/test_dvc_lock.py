"""What DVC requires of its lock, and every way to cut one off."""

import pytest

from pipelines.shared.dvc_lock import locked_stages

LOCK = b"""schema: '2.0'
stages:
  train@clip:
    cmd: python3 -m pipelines.train clip
    deps:
    - path: data/pack/web
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 1234
    params:
      params.yaml:
        seed: 0
    outs:
    - path: runs/clip
      hash: md5
      md5: fedcba9876543210fedcba9876543210
"""


def test_a_whole_lock():
    stages = locked_stages(LOCK)
    assert stages["train@clip"]["deps"][0]["path"] == "data/pack/web"
    assert locked_stages(b"schema: '2.0'\nstages: {}\n") == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"schema: '2.0'\n",
        b"stages: [1]",
        b"stages:\n  a:\n",
        b"stages:\n  a: {deps: []}\n",
        b"stages:\n  a: {cmd: x, deps: [{path: b}]}\n",
        b"stages:\n  a: {cmd: x, outs: [{path: b, md5: 01234567}]}\n",
        b"stages:\n  a: {cmd: x, outs: [{path: , md5: 0123456789abcdef0123456789abcdef}]}\n",
        b"\xff",
        b"stages: {",
    ],
)
def test_what_is_not_whole(content):
    assert locked_stages(content) is None


@pytest.mark.parametrize("entry", [b"    - path: data", b"    - path: runs"])
def test_cuts_inside_an_entry(entry):
    start = LOCK.index(entry)
    end = LOCK.index(b"md5: ", start) + len(b"md5: ") + 31
    assert locked_stages(LOCK[: LOCK.index(b"    deps:")]) is not None, "before an entry nothing shows a cut"
    for cut in range(start + len(b"    - p"), end):
        assert locked_stages(LOCK[:cut]) is None, LOCK[start:cut]
