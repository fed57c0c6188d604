"""The speed of captioning and of CLIP scoring against other libraries: `python -m tests.benchmarks.captions`.

Captioning is BLIP's, with the weights of one checkpoint that `transformers` writes, pictures that are already in
memory, and the same decoding; the peer is `transformers`' own `generate`. CLIP scoring is the annotator's, decoded
pictures and texts to scores; the peer is the bare model's forward pass on tensors that were made before.

Writes `reports/bench/captions.json` and prints the same as a table.
"""

import functools
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from models.shared.blip import DEC, SEP, BlipNetwork
from models.shared.blip_checkpoint import load_hugging_face
from models.shared.blip_config import NetworkConfig
from models.shared.decoding import Decoding
from pipelines.annotators import AnnotatorInput
from pipelines.annotators.clip_score import Annotator, Config
from pipelines.shared.clip_models import load_clip
from pipelines.shared.files import digest_file, write_json
from pipelines.shared.records import Caption
from tests.benchmarks.command import command
from tests.benchmarks.harness import Case, Contest, Goal

OUT = Path("reports/bench/captions.json")
MODULE = "tests.benchmarks.captions"
PROMPT = "a picture of "
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 224, "layers": 1, "width": 16, "head_width": 8, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
LIMITS = {"min_tokens": 5, "max_tokens": 20}


def captioning(quick: bool, *, decoding: str, per_image: int) -> Contest:
    """BLIP-base on pictures of 224 px; with `quick` a tiny network."""
    count = 2 if quick else 4
    network, theirs, image = blip(quick, count)
    pixels = (image + 1) / 2 - network.pixel_mean
    pixels = pixels / network.pixel_std
    prompt = torch.tensor([*network.prompt_tokens(PROMPT), SEP]).expand(count, -1)
    settings = Decoding(decoding=decoding, **LIMITS)
    generators = [torch.Generator() for _ in range(count * per_image)]
    chosen: dict[str, Any] = {
        "greedy": {"num_beams": 1},
        "beam": {"num_beams": 3, "early_stopping": "never"},
        "nucleus": {"do_sample": True, "top_p": 0.9, "top_k": 0, "num_return_sequences": per_image},
    }[decoding]

    def ours() -> list[str]:
        for seed, generator in enumerate(generators):
            generator.manual_seed(seed)
        return network.caption(image, generators, PROMPT, settings)

    @torch.no_grad()
    def peer() -> list[str]:
        torch.manual_seed(0)
        tokens = theirs.generate(
            pixel_values=pixels,
            input_ids=prompt.clone(),
            attention_mask=torch.ones_like(prompt),
            min_new_tokens=LIMITS["min_tokens"],
            max_new_tokens=LIMITS["max_tokens"],
            **chosen,
        )
        start = prompt.shape[1] - 1
        return network.tokenizer.decode_batch(
            [[t for t in row[start:] if t not in (0, SEP)] for row in tokens.tolist()]
        )

    def differing(first: Sequence[str], second: Sequence[str]) -> float:
        assert len(first) == len(second) == count * per_image
        if decoding == "nucleus":  # drawn by other random numbers: as many texts, none of them empty
            return float(sum(not text for text in (*first, *second)))
        return sum(a != b for a, b in zip(first, second, strict=True)) / len(first)

    return Contest(ours=ours, peer=peer, difference=differing, amount=count * per_image)


def blip(quick: bool, count: int) -> tuple[BlipNetwork, Any, torch.Tensor]:
    """Our network and `transformers`' with the same random weights, and pictures in [-1, 1]."""
    import transformers

    width, layers, heads, side_px = (32, 2, 2, 32) if quick else (768, 12, 12, 224)
    shared = {"hidden_size": width, "intermediate_size": 4 * width}
    sizes = {**shared, "num_hidden_layers": layers, "num_attention_heads": heads}
    text = {
        **{"vocab_size": 30524, "encoder_hidden_size": width, "layer_norm_eps": 1e-12},
        **{"bos_token_id": DEC, "pad_token_id": 0, "eos_token_id": SEP, "sep_token_id": SEP},
    }
    vision = {"image_size": side_px, "patch_size": 16, "layer_norm_eps": 1e-6, "initializer_range": 0.02}
    config = transformers.BlipConfig(
        text_config={**sizes, **text}, vision_config={**sizes, **vision}, image_text_hidden_size=256
    )
    torch.manual_seed(0)
    theirs = transformers.BlipForConditionalGeneration(config).eval()
    with torch.no_grad():  # random weights say one and the same thing of all pictures; these do not
        for name, parameter in theirs.named_parameters():
            if "crossattention" in name and name.endswith("weight"):
                parameter *= 4
    ours = BlipNetwork(
        NetworkConfig(
            **{"image_px": side_px, "image_width": width, "num_image_layers": layers, "num_image_heads": heads},
            **{"text_width": width, "num_layers": layers, "num_heads": heads, "dropout": 0.0},
        )
    ).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        file = Path(folder) / "model.safetensors"
        load_hugging_face(ours, file, hashlib.sha256(file.read_bytes()).hexdigest())
    image = torch.rand(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return ours.requires_grad_(False), theirs, image


def clip_scoring(quick: bool, *, model: str) -> Contest:
    """Scores of pictures of 224 px with a caption each; with `quick` by a tiny network."""
    import open_clip
    from safetensors.torch import save_file

    count = 2 if quick else 32
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            model = "vignette-quick"
            write_json(Path(folder) / f"{model}.json", TINY)
            open_clip.add_model_config(folder)
        weights = Path(folder) / "weights.safetensors"
        state = open_clip.create_model(model).state_dict()
        save_file({name: value.contiguous() for name, value in state.items()}, weights)
        config = Config(model=model, weights=str(weights), sha256=digest_file(weights), batch_size=count)
        loaded = load_clip(config.model, config.weights, config.sha256, config.device)  # as the annotator will, later
        annotator = Annotator(config)
    samples = [_sample(number) for number in range(count)]
    pictures = torch.stack([loaded.preprocess(sample.image) for sample in samples])
    tokens = loaded.tokenizer([sample.captions[0].text for sample in samples])

    def ours() -> list[float]:
        return [row["clip_score"][0] for row in annotator.annotate(samples)]

    @torch.inference_mode()
    def peer() -> list[float]:
        image = loaded.model.encode_image(pictures, normalize=True)
        text = loaded.model.encode_text(tokens, normalize=True)
        return [100 * float(value) for value in (image * text).sum(dim=1)]

    def furthest(first: Sequence[float], second: Sequence[float]) -> float:
        return max(abs(a - b) for a, b in zip(first, second, strict=True))

    return Contest(ours=ours, peer=peer, difference=furthest, tolerance=1e-3, amount=count)


def _sample(number: int) -> AnnotatorInput:
    pixels = torch.randint(0, 256, (8, 8, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
    image = Image.fromarray(pixels.numpy()).resize((224, 224), Image.Resampling.BICUBIC)
    captions = (Caption(text=f"a drawing of {number} coloured tiles on a table", origin="web"),)
    return AnnotatorInput(key=f"{number:020x}", media="image", image=image, first_image=image, captions=captions)


CASES = (
    *(
        Case(
            title=f"BLIP-base captions of 4 images, {title}",
            make=functools.partial(captioning, decoding=decoding, per_image=per_image),
            peer_name="transformers",
            unit="captions/s",
            goal=Goal(least_ratio=1.5),
        )
        for title, decoding, per_image in (
            ("greedy", "greedy", 1),
            ("beams of 3", "beam", 1),
            ("nucleus, 10 each", "nucleus", 10),
        )
    ),
    Case(
        title="CLIP scores of 32 pictures, ViT-B-32, from decoded pictures",
        make=functools.partial(clip_scoring, model="ViT-B-32"),
        peer_name="open_clip_torch",
        unit="pictures/s",
        goal=Goal(least_ratio=0.9),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    command(CASES, OUT, MODULE, str(__doc__), arguments)


if __name__ == "__main__":
    main()
