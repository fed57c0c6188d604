"""What is shipped for schedulers: it parses, says what it promises, and calls commands as they are."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipelines import retrain
from pipelines.__main__ import COMMANDS
from tests.pipelines.small_job import ROOT, command

WORKFLOW, CRON_JOB = ROOT / ".github/workflows/retrain.yml", ROOT / "deploy/kubernetes/retrain-cronjob.yaml"
UNITS = ROOT / "deploy/systemd"
PUBLISH = ROOT / "deploy/github/publish.sh"


def documents(path: Path) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(path.read_text()))


def accepted(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Asserts that `vignette <command> ...` reaches its work: no argument is refused."""

    class ReachedError(Exception):
        pass

    def reached() -> None:
        raise ReachedError

    assert Path(words[0]).name == "vignette" and words[1] == "retrain" and words[1] in COMMANDS
    monkeypatch.setattr(retrain, "load_params", reached)
    monkeypatch.setattr("sys.argv", ["vignette retrain", *words[2:]])
    with pytest.raises(ReachedError):
        retrain.main()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def workflow() -> dict[str, Any]:
    (document,) = documents(WORKFLOW)
    return document


def test_the_workflow_runs_on_a_schedule_and_by_hand_one_at_a_time(workflow: dict[str, Any]) -> None:
    assert set(workflow["on"]) == {"schedule", "workflow_dispatch"}, (
        "a schedule that GitHub switches off takes the rest along"
    )
    (entry,) = workflow["on"]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* \d", entry["cron"])
    assert set(workflow["on"]["workflow_dispatch"]["inputs"]) == {"dry_run", "refresh", "time_budget_min"}
    assert workflow["concurrency"] == {"group": "retrain", "cancel-in-progress": False}
    assert workflow["defaults"]["run"]["shell"] == "bash"


def test_the_workflow_may_do_no_more_than_it_must(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {}
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {"contents": "write", "pull-requests": "write"}
    assert 0 < job["timeout-minutes"] < 360, "GitHub's own limit leaves no time to keep what was built"
    for step in job["steps"]:
        assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        assert "${{" not in step.get("run", ""), "an expression in a script is run as code"
        assert ("run" in step) != ("uses" in step)


def test_the_workflow_calls_retrain_as_it_is(workflow: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = workflow["jobs"].values()
    steps = {step.get("name", step.get("uses")): step for step in job["steps"]}
    script = steps["Retrain"]["run"]
    assert 'vignette retrain "${options[@]}"' in script
    options = re.findall(r"--[a-z-]+", script)
    assert options == ["--time-budget-min", "--dry-run", "--no-refresh"]
    accepted(["vignette", "retrain", "--time-budget-min", "300", "--dry-run", "--no-refresh"], monkeypatch)
    assert f'"$status" != {retrain.NOT_DONE} ]' in script
    assert (ROOT / steps["Publish"]["run"].split()[0]).stat().st_mode & 0o111, "it is executable"


SCRIPT = """#!{python}
import os, sys
print("done")
open("words", "w").write(" ".join(sys.argv[1:]))
sys.exit(int(os.environ["STATUS"]))
"""


@pytest.mark.parametrize(
    ("status", "dry_run", "refresh", "passes", "done", "words"),
    [
        (0, "false", "true", True, "true", "retrain --time-budget-min 300"),
        (0, "true", "false", True, "false", "retrain --time-budget-min 300 --dry-run --no-refresh"),
        (3, "false", "true", True, "false", "retrain --time-budget-min 300"),
        (1, "false", "true", False, None, "retrain --time-budget-min 300"),
    ],
)
def test_the_workflow_s_script(
    workflow: dict[str, Any], status: int, dry_run: str, refresh: str, passes: bool, done: str | None, words: str
) -> None:
    (job,) = workflow["jobs"].values()
    script = next(step["run"] for step in job["steps"] if step.get("name") == "Retrain")
    program(Path("bin/vignette"), SCRIPT.format(python=sys.executable))
    where = {
        name: str(Path(name.lower()).resolve()) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RUNNER_TEMP")
    }
    Path(where["RUNNER_TEMP"]).mkdir()
    found = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        env={
            "PATH": f"{Path('bin').resolve()}:{os.environ['PATH']}",
            "DRY_RUN": dry_run,
            "REFRESH": refresh,
            "TIME_BUDGET_MIN": "300",
            "STATUS": str(status),
            **where,
        },
        check=False,
    )
    assert (found.returncode == 0) == passes and Path("words").read_text() == words
    output = Path(where["GITHUB_OUTPUT"])
    assert (output.read_text() if output.exists() else None) == (f"done={done}\n" if done else None)
    assert Path(where["GITHUB_STEP_SUMMARY"]).read_text() == "done\n"


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


GH = """#!/bin/sh
echo "$@" >> "$GH_LOG"
case "$1 $2" in
  "pr list") cat "$GH_OPEN" 2>/dev/null ;;
  "pr create"|"pr edit") while [ "$1" != --body-file ]; do shift; done; cp "$2" "$GH_LOG.body" ;;
esac
exit 0
"""


def test_results_go_to_a_branch_and_a_pull_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone, log = tmp_path / "clone", tmp_path / "log"
    program(tmp_path / "bin/gh", GH)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("GH_LOG", str(log))
    monkeypatch.setenv("GH_OPEN", str(tmp_path / "open"))
    command(tmp_path, "git", "init", "--quiet", "--bare", "--initial-branch", "main", "origin")
    command(tmp_path, "git", "clone", "--quiet", "origin", "clone")
    (clone / "scores/gates/clip").mkdir(parents=True)
    for name in ("dvc.lock", "sources.lock", "scores/clip.json", "code.py"):
        (clone / name).write_text("before")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    command(clone, "git", "add", "--all")
    command(clone, "git", *identity, "commit", "--quiet", "--message", "start")
    command(clone, "git", "push", "--quiet", "origin", "HEAD:main")
    assert command(clone, str(PUBLISH), "retrain/results", "main") == "Nothing has changed.\n" and not log.exists()

    (clone / "scores/gates/clip/gate.md").write_text("# Gate clip: hold\n| a | ![](champion/x.webp) |\n")
    for name in ("dvc.lock", "code.py"):
        (clone / name).write_text("after")
    command(clone, str(PUBLISH), "retrain/results", "main")
    changed = command(clone, "git", "diff", "--name-only", "origin/main", "origin/retrain/results").split()
    assert changed == ["dvc.lock", "scores/gates/clip/gate.md"], "code is nobody's result"
    assert "pr create --base main --head retrain/results --title Retraining of" in log.read_text()
    body = Path(f"{log}.body").read_text()
    assert "# Gate clip: hold" in body and "![](" not in body

    command(clone, "git", "switch", "--quiet", "--detach", "origin/main")
    (clone / "sources.lock").write_text("after")
    (tmp_path / "open").write_text("17\n")
    command(clone, str(PUBLISH), "retrain/results", "main")
    command(clone, "git", "fetch", "--quiet")
    assert command(clone, "git", "rev-list", "--count", "origin/main..origin/retrain/results").strip() == "1"
    assert "pr edit 17 --title Retraining of" in log.read_text() and log.read_text().count("pr create") == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_units(tmp_path: Path) -> None:
    timer = (UNITS / "vignette-retrain.timer").read_text()
    assert "Persistent=true" in timer and "RandomizedDelaySec=" in timer
    (calendar,) = re.findall(r"(?m)^OnCalendar=(.*)$", timer)
    command(tmp_path, "systemd-analyze", "calendar", calendar)
    (tmp_path / "vignette-retrain.timer").write_text(timer)
    service = (UNITS / "vignette-retrain.service").read_text()
    for old, new in (("/srv/vignette/.venv/bin/vignette", "/bin/true"), ("=vignette\n", "=root\n")):
        service = service.replace(old, new)
    (tmp_path / "vignette-retrain.service").write_text(service)
    found = subprocess.run(
        ["systemd-analyze", "verify", "./vignette-retrain.service", "./vignette-retrain.timer"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    service = (UNITS / "vignette-retrain.service").read_text()
    settings = dict(re.findall(r"(?m)^([A-Za-z]+)=(.*)$", service))
    words = shlex.split(settings["ExecStart"].replace("$RETRAIN_OPTIONS", "--time-budget-min 300 --jobs 2"))
    accepted(words, monkeypatch)
    assert (
        words[0].startswith(settings["WorkingDirectory"]) and settings["ReadWritePaths"] == settings["WorkingDirectory"]
    )
    assert settings["SuccessExitStatus"] == str(retrain.NOT_DONE)
    assert settings["Type"] == "oneshot" and settings["User"] == "vignette" and settings["NoNewPrivileges"] == "true"
    assert settings["ProtectSystem"] == "strict"


def test_the_cron_job(monkeypatch: pytest.MonkeyPatch) -> None:
    claim, job = documents(CRON_JOB)
    spec, run = job["spec"], job["spec"]["jobTemplate"]["spec"]
    assert (job["kind"], spec["concurrencyPolicy"]) == ("CronJob", "Forbid") and spec["startingDeadlineSeconds"] > 0
    pod = run["template"]["spec"]
    (container,) = pod["containers"]
    accepted(container["command"], monkeypatch)
    budget_sec = 60 * int(container["command"][container["command"].index("--time-budget-min") + 1])
    assert budget_sec < run["activeDeadlineSeconds"], "a run ends by itself before it is ended"
    assert pod["restartPolicy"] == "Never" and not pod["automountServiceAccountToken"]
    assert run["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [retrain.NOT_DONE]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} <= set(container["resources"])
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["project"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert container["workingDir"].startswith(
        next(m["mountPath"] for m in container["volumeMounts"] if m["name"] == "project")
    )
