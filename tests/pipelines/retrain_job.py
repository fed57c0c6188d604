"""The smallest job with every kind of stage that retraining runs: two web sites, one pack, one CLIP, one gate."""

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import yaml

from tests.pipelines.small_job import CLIP, ROOT, WEB, command, commit, small_params, write_code

SITES = {"clipart": "clipart/page-13.html", "emoji": "emoji/page-12.html"}
IMAGE = re.compile(r'<img src="([^"]+)"')
RECALL = "text_to_image_recall@1"
GATE = {"evaluation": "clip", "improve": {RECALL: 1.5}, "guard": {"text_to_image_recall@5": 1.5}}


def job_params() -> dict[str, Any]:
    """Settings of the job; its gate holds every challenger, because no recall gains 1.5."""
    params = small_params(Path("unused"))
    source = {"module": "html_site", "max_pages": 1, "samples_per_shard": 10}
    sources = {
        name: {**source, "serve": f"sites/{name}", "start": start, "origin": "human" if name == "emoji" else "web"}
        for name, start in SITES.items()
    }
    split = {"val": 0.1, "test": {"clipart": 0.1, "emoji": 0.4}}
    empty = {section: {} for section in ("repacks", "recaptions", "stacked", "references")}
    return params | {
        **empty,
        "beam": {"direct_running_mode": "in_memory", "direct_num_workers": 1},
        "sources": sources,
        "filters": {"base": {**params["filters"]["base"], "sources": list(SITES), "split": split}},
        "packs": {"web": params["packs"]["web"]},
        "models": {"clip": {**CLIP, "pack": "web", "captions": WEB}},
        "evaluations": {"clip": params["evaluations"]["clip"]},
        "report": params["report"] | {"pairs": []},
        "retrain": {"gates": {"clip": GATE}},
    }


def write_job(folder: Path) -> Path:
    """A git repository with this project's code, the two sites and the job's settings."""
    write_code(folder)
    for name, page in SITES.items():
        shown = IMAGE.findall((ROOT / "examples/site" / page).read_text())
        for path in (page, *(urlsplit(urljoin(f"/{page}", found)).path.lstrip("/") for found in shown)):
            target = folder / "sites" / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / "examples/site" / path, target)
    (folder / "params.yaml").write_text(yaml.safe_dump(job_params(), sort_keys=False))
    (folder / "data/recaption").mkdir(parents=True)
    command(folder, "git", "init", "--quiet")
    command(folder, "git", "config", "user.name", "t")
    command(folder, "git", "config", "user.email", "t@example.org")
    commit(folder, "start")
    return folder


def change_site(folder: Path) -> dict[str, str]:
    """A new picture, one less, and one whose bytes are others.

    Returns:
        The paths below the site of the `added`, the `removed` and the `changed` one.
    """
    site = folder / "sites/emoji"
    page = site / SITES["emoji"]
    paths = IMAGE.findall(page.read_text())
    removed, changed, added = paths[0], paths[1], "img/brand-new.webp"
    others = sorted((ROOT / "examples/site/emoji/img/activities").iterdir())
    shutil.copyfile(others[0], site / "emoji" / added)
    shutil.copyfile(others[1], site / "emoji" / changed)
    text = re.sub(rf'<(figure|p)><img src="{re.escape(removed)}".*?</\1>\n', "", page.read_text())
    new = f'<figure><img src="{added}"><figcaption>a brand new thing</figcaption></figure>\n</div>'
    page.write_text(text.replace("</div>", new, 1))
    (site / "emoji" / removed).unlink()
    return {"added": added, "removed": removed, "changed": changed}


def run_retrain(folder: Path, *options: str) -> str:
    """What `vignette retrain` prints."""
    return command(folder, "python3", "-m", "pipelines.retrain", *options)
