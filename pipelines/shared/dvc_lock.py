"""`dvc.lock` as DVC requires it to be: DVC does not write it at once, so that a kill can leave a part of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

LOCK = Path("dvc.lock")
MD5_DIGITS = 32


def locked_stages(content: bytes) -> Mapping[str, Mapping[str, Any]] | None:
    """The stages of a `dvc.lock`; None if it lacks something that DVC requires."""
    try:
        stages = YAML(typ="safe", pure=True).load(content.decode())["stages"]
        whole = all(
            isinstance(stage["cmd"], str) and all(_files_are_whole(stage.get(name, [])) for name in ("deps", "outs"))
            for stage in stages.values()
        )
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return None
    return stages if whole else None


def _files_are_whole(files: Sequence[Mapping[str, str]]) -> bool:
    """Whether each file of a stage has its path and its digest."""
    return all(isinstance(each["path"], str) and len(each["md5"].removesuffix(".dir")) == MD5_DIGITS for each in files)
