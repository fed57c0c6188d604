"""What a finished run publishes: weights, histories, a model card, and last the config that is its entry point.

Equal runs have equal files; what the clock decides stands apart, in `timings/<key>.json`.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from models import capabilities
from models.shared.weights import require_finite
from pipelines.shared.files import atomic_path, canonical_json, digest_file, link_or_copy, write_json
from pipelines.shared.folders import new_folder
from pipelines.shared.runs import CONFIG_FILE, FORMAT_VERSION, WEIGHTS_FILE, own_weights
from pipelines.shared.stage import CURVES, RUNS, TIMINGS
from pipelines.shared.training.card import CARD_FILE, write_card
from pipelines.shared.training.checkpoint import TrainingState
from pipelines.shared.training.features import all_modules, code_digest
from pipelines.shared.training.history import write_csv
from pipelines.shared.training.loop import LIVE_METRICS, Job, uses_bfloat16
from pipelines.shared.training.prepare import Inputs

HISTORY_FILE = "history.csv"


def publish(inputs: Inputs, job: Job, state: TrainingState, key: str) -> None:
    """Put a finished run in its place.

    Args:
        inputs: What it was made from.
        job: The job.
        state: Its state after the last step.
        key: Names the run's folders; what was there stays until the new ones are whole.
    """
    weights = job.folder / WEIGHTS_FILE
    document = describe_run(inputs, job, state)
    with state.average.applied() if state.average else nullcontext():
        write_weights(weights, job.model, document)
    document["model_sha256"] = digest_file(weights)
    measured = job.folder / LIVE_METRICS
    with new_folder(CURVES / key) as curves:
        for path in sorted(measured.rglob("*.tsv")):
            link_or_copy(path, curves / path.relative_to(measured))
    num_samples = state.step * job.settings.batch_size
    timing = {"seconds": state.seconds, "samples_per_sec": num_samples / state.seconds if num_samples else 0.0}
    write_json(TIMINGS / f"{key}.json", timing)
    with new_folder(RUNS / key) as out:
        link_or_copy(weights, out / WEIGHTS_FILE)
        write_csv(out / HISTORY_FILE, state.rows)
        write_card(out / CARD_FILE, document, state.rows[-1])
        document["files"] = {name: digest_file(out / name) for name in (HISTORY_FILE, CARD_FILE)}
        write_json(out / CONFIG_FILE, document)


def describe_run(inputs: Inputs, job: Job, state: TrainingState) -> dict[str, Any]:
    """All of `config.json` but the digest of the weights."""
    plan, model, world = inputs.plan, job.model, job.world
    parameters = list(model.parameters())
    bfloat16 = uses_bfloat16(job.settings, world.device)
    return {
        "format_version": FORMAT_VERSION,
        "key": plan.key,
        "module": plan.module_name,
        "code_sha256": code_digest(plan),
        "config": asdict(plan.config),
        "capabilities": sorted(capabilities(model)),
        "pack": {
            "key": plan.entry.pack,
            "manifest_sha256": inputs.pack_sha256,
            "captions": dict(plan.entry.captions),
            "num_train_samples": len(job.train.order.choices.keys) if job.train else 0,
            "num_val_samples": len(job.validation.picks) if job.validation else 0,
        },
        "base": dict(inputs.base),
        "packaged_sha256": packaged_digests(model),
        "training": job.settings.deciding(),
        "seed": inputs.seed,
        "step": state.step,
        "weights": "average" if state.average else "last",
        "num_parameters": sum(parameter.numel() for parameter in parameters),
        "num_trained_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "environment": {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu",
            "precision": "bfloat16" if bfloat16 else "float32",
            "num_processes": world.size,
            "num_threads": torch.get_num_threads(),
        },
    }


def write_weights(path: Path, model: torch.nn.Module, document: Mapping[str, Any]) -> None:
    """Write weights; the metadata has one entry, because safetensors writes several in a random order.

    Raises:
        ValueError: A weight is not finite.
    """
    weights = own_weights(model)
    require_finite(weights, str(path))
    with atomic_path(path) as temporary:
        save_file(weights, temporary, metadata={"vignette": canonical_json(document)})
        temporary.chmod(0o644)  # safetensors leaves it to its owner alone


def packaged_digests(model: torch.nn.Module) -> dict[str, str]:
    """sha256 of every packaged pretrained file that a model started from or uses, by `package/path`."""
    digests: dict[str, str] = {}
    for _, module in all_modules(model):
        digests |= getattr(module, "packaged_digests", {})
    return dict(sorted(digests.items()))
