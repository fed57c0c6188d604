from pathlib import Path

import pytest

from pipelines.shared.registry import assign, assigned, before, next_version, register, versions
from tests.pipelines.small_job import command

FACTS = {"run": "clip", "model_sha256": "m" * 64, "forced": "", "note": "two\nlines: x"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    command(tmp_path, "git", "init", "--quiet")
    command(tmp_path, "git", "config", "user.name", "t")
    command(tmp_path, "git", "config", "user.email", "t@example.org")
    return tmp_path


def commit(folder: Path, text: str) -> str:
    (folder / "file").write_text(text)
    command(folder, "git", "add", "file")
    command(folder, "git", "commit", "--quiet", "--message", text)
    return command(folder, "git", "rev-parse", "HEAD").strip()


def test_nothing_is_registered(repository: Path) -> None:
    assert versions("clip") == {} and assigned("clip", {}) == [] and before([]) is None


def test_a_history(repository: Path) -> None:
    first, second = commit(repository, "one"), commit(repository, "two")
    assert register("clip", "v0.1.0", first, FACTS) == "clip@v0.1.0"
    assert assign("clip", "v0.1.0", FACTS) == "clip#champion#1"
    register("clip", "v0.1.1", second, {"model_sha256": "n" * 64})
    assert assign("clip", "v0.1.1", FACTS) == "clip#champion#2"
    commit(repository, "three")
    assert assign("clip", "v0.1.0", FACTS) == "clip#champion#3", "GTO by itself refuses an older version"
    known = versions("clip")
    assert {name: version.commit for name, version in known.items()} == {"v0.1.0": first, "v0.1.1": second}
    assert known["v0.1.0"].facts == {"run": "clip", "model_sha256": "m" * 64, "note": "two lines: x"}
    assert assigned("clip", known) == ["v0.1.0", "v0.1.1", "v0.1.0"]


def test_gates_do_not_mix_and_other_tags_do_not_count(repository: Path) -> None:
    revision = commit(repository, "one")
    register("clip", "v0.1.0", revision, FACTS)
    register("clip-large", "v0.2.0", revision, FACTS)
    assign("clip-large", "v0.2.0", FACTS)
    for words in (
        ("clip@v0.3.0",),
        ("--annotate", "clip@vnext", "-m", "x"),
        ("--annotate", "clip#staging#7", "-m", "x"),
    ):
        command(repository, "git", "tag", *words)
    assert list(versions("clip")) == ["v0.1.0"], "a lightweight tag registers nothing"
    assert assigned("clip", versions("clip")) == []
    assert assigned("clip-large", versions("clip-large")) == ["v0.2.0"]


def test_versions_are_in_the_order_of_their_numbers(repository: Path) -> None:
    for version in ("v0.10.0", "v0.9.0", "v0.9.10"):
        register("clip", version, commit(repository, version), FACTS)
    assert list(versions("clip")) == ["v0.9.0", "v0.9.10", "v0.10.0"]
    assert next_version(versions("clip"), new_test_set=False) == "v0.10.1"


def test_what_gto_refuses_is_one_line(repository: Path) -> None:
    register("clip", "v0.1.0", commit(repository, "one"), FACTS)
    with pytest.raises(ValueError, match=r"^gto: .*v0\.1\.0"):
        register("clip", "v0.1.0", commit(repository, "two"), FACTS)
    with pytest.raises(ValueError, match=r"^gto: Version 'v0\.7\.0' is not registered"):
        assign("clip", "v0.7.0", FACTS)


@pytest.mark.parametrize(
    ("known", "new_test_set", "expected"),
    [
        ((), True, "v0.1.0"),
        ((), False, "v0.1.0"),
        (("v0.1.0",), False, "v0.1.1"),
        (("v0.1.0", "v0.1.9"), False, "v0.1.10"),
        (("v0.1.9", "v0.1.10"), True, "v0.2.0"),
        (("v1.2.3",), True, "v1.3.0"),
    ],
)
def test_the_next_version(known: tuple[str, ...], new_test_set: bool, expected: str) -> None:
    assert next_version(known, new_test_set=new_test_set) == expected


@pytest.mark.parametrize(
    ("history", "expected"),
    [(["a"], None), (["a", "b"], "a"), (["a", "b", "a"], None), (["a", "b", "c", "b"], "a"), (["a", "b", "c"], "b")],
)
def test_the_version_before(history: list[str], expected: str | None) -> None:
    assert before(history) == expected, "a second rollback goes further back, and not forward again"
