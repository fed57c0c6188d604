"""All data stages on a dozen pictures, in forked children: no program is started, so hundreds of runs."""

import os
import shutil
from pathlib import Path

from pipelines import annotate, crawl, filter, pack, recaption, refresh
from pipelines.shared.params import load_params
from pipelines.shared.stage import StageRun, one_line_errors, setup_logging, single_run
from tests.chaos.killing import in_child
from tests.pipelines.crawl_site import digests
from tests.pipelines.test_store import write_job

IN_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
MODULES = {"crawl": crawl, "annotate": annotate, "filter": filter, "pack": pack, "recaption": recaption}
STAGES = (
    ("crawl", "toys"),
    ("annotate", "toys"),
    ("filter", "base"),
    ("pack", "web"),
    ("recaption", "first"),
    ("pack", "again"),
)


def command(stage: str, key: str) -> None:
    """What the stage's command does."""
    setup_logging()
    run = MODULES[stage].run
    with one_line_errors(f"{stage} {key}", ends_at_once=True), single_run(f"{stage}-{key}"):
        run(StageRun(stage=stage, key=key, params=load_params(), beam_options=IN_PROCESS))


def build(folder: Path) -> dict[str, dict[str, str]]:
    """Run all stages in a project of that name, which becomes the current folder; digests by stage and key."""
    write_job(folder)
    os.chdir(folder)
    assert in_child(lambda: refresh.refresh()) == 0
    for stage, key in STAGES:
        assert in_child(lambda stage=stage, key=key: command(stage, key)) == 0, f"{stage} {key}"
    return {f"{stage}/{key}": published(stage, key) for stage, key in STAGES}


def published(stage: str, key: str) -> dict[str, str]:
    """Digests of what a stage published."""
    return digests(Path("data") / stage / key)


def leftovers() -> list[str]:
    """What no finished run leaves: scratch, and folders on their way to a name or from it."""
    hidden = [path for place in ("data", ".vignette") for path in Path(place).rglob(".*") if path.is_dir()]
    scratch = [path for path in Path(".vignette/scratch").glob("*/*") if path.parent.name != "refresh"]
    temporary = list(Path("data").rglob("*.tmp"))
    return [str(path) for path in (*hidden, *scratch, *temporary)]


def forget(cache: bool = True) -> None:
    """No scratch, and if asked no cache: all work is to be done again."""
    for place in ("scratch", "cache", "crawls") if cache else ("scratch",):
        shutil.rmtree(Path(".vignette") / place, ignore_errors=True)
