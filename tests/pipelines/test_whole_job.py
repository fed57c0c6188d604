"""All stages, twice from nothing: equal bytes whatever workers, hash seed, time zone and locale."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.pipelines.crawl_site import digests
from tests.pipelines.small_job import ROOT, small_params

PUBLISHED = ("data", "runs", "dvclive", "scores", "reports")
EVERY_STAGE = """
import sys
from pipelines import annotate, crawl, evaluate, filter, pack, recaption, refresh, report, train
from pipelines.shared.params import load_params
from pipelines.shared.stage import StageRun

def run(module, *keys):
    for key in keys:
        module.run(StageRun(stage=module.__name__.split(".")[-1], key=key, params=params, beam_options=options))

if __name__ == "__main__":
    params, options = load_params(), tuple(sys.argv[1:])
    refresh.refresh()
    run(crawl, *params["sources"])
    run(annotate, *params["sources"])
    run(filter, "base")
    run(pack, "web", "motion")
    run(train, "clip", "blip", "blip-captioner", "blip-matcher")
    run(recaption, "first")
    run(pack, "bootstrapped")
    run(train, "clip-bootstrapped")
    run(evaluate, *params["evaluations"], *params["references"])
    report.run(params)
"""


def whole_job(folder: Path, *options: str, **environment: str) -> dict[str, str]:
    """Digests of all published files of a run from nothing."""
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params(Path("site"))))
    (folder / "site").symlink_to(ROOT / "examples" / "site")
    (folder / "every_stage.py").write_text(EVERY_STAGE)
    done = subprocess.run(
        [sys.executable, "every_stage.py", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {f"{place}/{name}": digest for place in PUBLISHED for name, digest in digests(folder / place).items()}


def test_equal_bytes_however_it_is_run(tmp_path: Path) -> None:
    one = whole_job(
        *(tmp_path / "one", "--direct_running_mode=in_memory", "--direct_num_workers=1"),
        **{"PYTHONHASHSEED": "1", "TZ": "Pacific/Auckland", "LC_ALL": "tr_TR.UTF-8"},
    )
    two = whole_job(
        *(tmp_path / "two", "--direct_running_mode=multi_processing", "--direct_num_workers=2"),
        **{"PYTHONHASHSEED": "2", "TZ": "America/St_Johns", "LC_ALL": "C"},
    )
    assert {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)} == set()
    manifests = [name for name in one if name.endswith("manifest.json")]
    assert len(manifests) == 3 + 3 + 1 + 3 + 1 + 2 + 1, manifests
    assert {"runs/clip-bootstrapped/model.safetensors", "scores/clip.json", "reports/index.html"} <= one.keys()
