"""Trained runs on disk: `runs/<key>/` with `config.json` as the entry point, and weights that are checked before use.

`config.json` is written last. It names the plug-in and its settings, the run that it builds on, and the sha256 of
`model.safetensors`; so a run is loaded from its folder alone, whatever `params.yaml` says by now.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.shared.devices import choose_device
from pipelines.shared.documents import read_json
from pipelines.shared.files import digest_file
from pipelines.shared.params import build, freeze_lists, plugin
from pipelines.shared.stage import RUNS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT_VERSION = 1
OUTSIDE_WEIGHTS = ("model_sha256", "files")
"""What `config.json` has beside the description that stands inside the weights: digests of the run's files."""
BEGINNING = ("weights", "weights_sha256")
"""Settings of plug-ins that name the file which a training begins with; a run that has its own weights needs none."""


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A trained model, ready for use.

    Attributes:
        key: Key of the run.
        module: Name of its plug-in.
        model: The model, in eval mode, without gradients.
        config: The plug-in's settings.
        sha256: Digest of its weights file, whose header names settings, pack and bases: it stands for the whole run.
        pack: The pack that it was trained on.
        device: Where the model is.
        document: All of `config.json`.
    """

    key: str
    module: str
    model: Any
    config: Any
    sha256: str
    pack: str
    device: "torch.device"
    document: Mapping[str, Any]


def read_run(key: str, folder: Path = RUNS) -> dict[str, Any]:
    """A run's `config.json`.

    Args:
        key: Key of the run.
        folder: Where runs are: a folder for each.

    Raises:
        ValueError: There is none (the run was not trained, or not to the end), or it has another format.
    """
    path = folder / key / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing: {key} was not trained to the end; `vignette train {key}` trains it")
    document = read_json(path, "a run's config")
    try:
        version = document["format_version"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a run's config: {type(error).__name__}: {error}") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}")
    return dict(document)


def run_digest(key: str, folder: Path = RUNS) -> str:
    """sha256 of a run's weights as its `config.json` names it; `LoadedRun.sha256` once loaded."""
    return str(read_run(key, folder)["model_sha256"])


def run_files(key: str) -> tuple[Path, ...]:
    """The files that `load_run` reads: those of the run, and of the runs that it builds on."""
    base = read_run(key)["base"]
    own = (RUNS / key / CONFIG_FILE, RUNS / key / WEIGHTS_FILE)
    return (*own, *run_files(base["key"])) if base else own


def require_capabilities(key: str, needed: Collection[str], where: str) -> None:
    """Check what a run's model can do, without loading it.

    Raises:
        ValueError: It lacks a capability; names both sides.
    """
    document = read_run(key)
    if missing := sorted(set(needed) - set(document["capabilities"])):
        raise ValueError(
            f"{where} needs a model with {', '.join(missing)}; {key} ({document['module']}) has "
            + (", ".join(document["capabilities"]) or "none of the capabilities")
        )


def load_run(key: str, device: str = "auto", folder: Path = RUNS) -> LoadedRun:
    """Load a run and the runs that it builds on; every weights file is checked against its sha256.

    Args:
        key: Key of the run.
        device: `auto`, `cpu` or `cuda`.
        folder: Where the run is, and the runs that it builds on.

    Raises:
        ValueError: A run is missing, a file is not the one that was trained, or settings do not fit the plug-in.
    """
    chosen = choose_device(device, f"run {key}")
    document, config, model = _built(key, folder)
    return LoadedRun(
        key=key,
        module=document["module"],
        model=model.requires_grad_(False).to(chosen),
        config=config,
        sha256=document["model_sha256"],
        pack=document["pack"]["key"],
        device=chosen,
        document=document,
    )


def load_bases(base: Mapping[str, str], folder: Path = RUNS) -> "dict[str, nn.Module]":
    """The models that a model builds on, by role: in eval mode, and trainable where their plug-in made them so.

    Args:
        base: `{}`, or the `role`, the `key` and the `sha256` of the run.
        folder: Where runs are.

    Raises:
        ValueError: The run's weights are others now.
    """
    if not base:
        return {}
    found = run_digest(base["key"], folder)
    if found != base["sha256"]:
        raise ValueError(f"the base run {base['key']} has other weights now: sha256 {found}, expected {base['sha256']}")
    return {base["role"]: _built(base["key"], folder)[2]}


def read_weights(path: Path, sha256: str, model: "nn.Module") -> None:
    """Load a weights file into a model, strictly, once its sha256 was found to be the expected one.

    Raises:
        ValueError: The file is missing or another one, is no safetensors file or does not fit the model, or a number
            in it is not finite.
    """
    from models.shared.weights import read_safetensors

    found = digest_file(path) if path.is_file() else "no such file"
    if found != sha256:
        raise ValueError(f"{path}: sha256 is {found}, its config names {sha256}")
    weights = read_safetensors(path)
    try:
        weights |= {name: weights[first] for name, first in tied_names(model).items()}
        model.load_state_dict(weights, strict=True)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit the model that its config names: {error}") from error


def tied_names(model: "nn.Module") -> dict[str, str]:
    """Names in the state dict whose tensor another, earlier name has as well; the file has it once."""
    first: dict[tuple[Any, ...], str] = {}
    tied = {}
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and first.setdefault(place, name) != name:
            tied[name] = first[place]
    return tied


def own_weights(model: "nn.Module") -> "dict[str, Tensor]":
    """What a weights file has of a model: its state dict on the CPU, tied tensors once."""
    tied = tied_names(model)
    return {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items() if name not in tied}


def _built(key: str, folder: Path) -> "tuple[dict[str, Any], Any, nn.Module]":
    """A run's document, the plug-in's settings, and the model on the CPU."""
    document = read_run(key, folder)
    where = f"{folder / key / CONFIG_FILE}"
    module = plugin("models", document["module"], where)
    config = build(module.Config, freeze_lists(document["config"]), where)
    own = {name: value for name, value in document["config"].items() if name not in BEGINNING}
    model = module.Model(build(module.Config, freeze_lists(own), where), load_bases(document["base"], folder))
    read_weights(folder / key / WEIGHTS_FILE, document["model_sha256"], model)
    return document, config, model.eval()
