"""What a reader is shown of a model: pictures that it made or described, beside the real ones."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pipelines.shared.decode import encode_image
from pipelines.shared.evaluation.evidence import Evidence
from pipelines.shared.evaluation.split import HeldOut
from pipelines.shared.files import write_bytes, write_json
from pipelines.shared.pixels import clip_pixels, image_pixels

THUMBNAIL_PX = 96
MIN_GENERATED_PX = 64
FRAMES_SHOWN = 4


def write_gallery(folder: Path, evidence: Evidence) -> int:
    """Write `gallery.json` and its pictures.

    Each item has `key` (of the sample, empty for generated pictures), `picture` and possibly `second` (file names), and
    the texts `captions` (of people), `written` (of the model) and `nearest` (what retrieval puts first).

    Returns:
        How many items were written.
    """
    can = evidence.can
    if "caption" in can:
        items = _described(folder, evidence)
    elif "reconstruct" in can:
        items = _reconstructed(folder, evidence)
    elif "generate" in can:
        items = _generated(folder, evidence)
    else:
        items = _retrieved(folder, evidence, "video" if "encode_video" in can else "image")
    write_json(folder / "gallery.json", items)
    return len(items)


def _shown(evidence: Evidence) -> list[int]:
    """Rows that are shown: evenly spread over the split, the same for every model of a pack."""
    total, wanted = len(evidence.split.samples), evidence.settings.num_shown
    return [row * total // wanted for row in range(wanted)] if total > wanted else list(range(total))


def _texts(split: HeldOut, row: int) -> list[str]:
    return [text for text, owner in zip(split.captions, split.owners, strict=True) if owner == row]


def _item(folder: Path, evidence: Evidence, row: int) -> dict[str, Any]:
    sample = evidence.split.samples[row]
    name = f"{sample.key}.webp"
    if sample.is_video:
        frames, mask = clip_pixels(sample, THUMBNAIL_PX, FRAMES_SHOWN)
        _save(folder / name, torch.cat(list(frames[mask]), dim=2))
    else:
        _save(folder / name, image_pixels(sample, THUMBNAIL_PX))
    return {"key": sample.key, "picture": name, "captions": _texts(evidence.split, row)}


def _described(folder: Path, evidence: Evidence) -> list[dict[str, Any]]:
    return [{**_item(folder, evidence, row), "written": evidence.captions[row]} for row in _shown(evidence)]


def _reconstructed(folder: Path, evidence: Evidence) -> list[dict[str, Any]]:
    items = []
    for row in _shown(evidence):
        item = _item(folder, evidence, row)
        item["second"] = f"reconstruction-{item['key']}.webp"
        _save(folder / item["second"], enlarged(evidence["reconstructions"][row]))
        items.append(item)
    return items


def _generated(folder: Path, evidence: Evidence) -> list[dict[str, Any]]:
    items = []
    for row in range(min(evidence.settings.num_shown, len(evidence.generated))):
        name = f"generated-{row:03d}.webp"
        _save(folder / name, enlarged(evidence.generated[row]))
        captions = [evidence.prompts[row]] if getattr(evidence.run.model, "conditional", True) else []
        items.append({"key": "", "picture": name, "captions": captions})
    return items


def _retrieved(folder: Path, evidence: Evidence, media: str) -> list[dict[str, Any]]:
    similarity = evidence[f"{media}_embeddings"] @ evidence["text_embeddings"].T
    nearest = similarity.argmax(dim=1).tolist()
    return [
        {**_item(folder, evidence, row), "nearest": evidence.split.captions[nearest[row]]} for row in _shown(evidence)
    ]


def enlarged(pixels: Tensor) -> Tensor:
    """Small pictures with every pixel repeated, so that a browser shows them as they are."""
    factor = -(-MIN_GENERATED_PX // pixels.shape[-1])
    return pixels.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)


def _save(path: Path, pixels: Tensor) -> None:
    write_bytes(path, encode_image(Image.fromarray(pixels.permute(1, 2, 0).numpy()), "webp", 85))
