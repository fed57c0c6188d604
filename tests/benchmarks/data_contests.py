"""What the benchmark of the data engine runs: inputs, our side, and a peer's side in the peers' own environment."""

import atexit
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from PIL import Image

from pipelines.annotators.phash import grey_pixels, hash_digits
from pipelines.shared.columns import CAPTIONS, read_columns
from pipelines.shared.decode import open_image
from pipelines.shared.duplicates import hamming_pairs
from pipelines.shared.filtering import Rule, columns_of, judge, load_rules
from pipelines.shared.layers import CAPTION_TYPE
from pipelines.shared.media import MediaError
from pipelines.shared.resize import scaled
from tests.benchmarks.harness import Contest, NotHereError

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".venv-peers/bin/python"
RADIUS = 4
RULES = {
    "words": {"module": "min_words", "min_words": 3},
    "side": {"module": "min_side", "min_side_px": 200},
    "aspect": {"module": "max_aspect", "max_aspect": 3.0},
    "score": {"module": "score_threshold", "column": "score", "scope": "caption", "top_frac": 0.3},
}


class Peer:
    """A peer at work in its own environment, by `peer_jobs`."""

    def __init__(self, job: str, **inputs: np.ndarray) -> None:
        folder = Path(tempfile.mkdtemp())
        self.result = folder / "result.npy"
        np.savez(folder / "inputs.npz", **inputs)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        script = Path(__file__).with_name("peer_jobs.py")
        self.process = subprocess.Popen(
            [str(PEERS), "-P", "-W", "ignore", str(script), job, str(folder / "inputs.npz"), str(self.result)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=folder,
            text=True,
        )
        atexit.register(self.process.kill)
        self.version = self._answer("ready")

    def __call__(self) -> np.ndarray:
        """The result of the job, done now."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._answer("done")
        return np.load(self.result)

    def _answer(self, expected: str) -> str:
        assert self.process.stdout is not None
        word, _, rest = self.process.stdout.readline().strip().partition(" ")
        if word != expected:
            raise RuntimeError(f"the peer ended instead of saying {expected!r}")
        return rest


def need_peers() -> None:
    """Raise NotHereError if there is no environment of the peers."""
    if not PEERS.exists():
        raise NotHereError(f"{PEERS.relative_to(ROOT)} is not here: `make bench-data` makes it")


def layers(num_rows: int) -> tuple[pyarrow.Table, pyarrow.Table]:
    """Facts and annotations of pictures with a caption each."""
    rng = np.random.default_rng(0)
    words = rng.integers(1, 12, num_rows)
    captions = [[{"text": "a caption", "origin": "web", "place": "alt", "model_sha256": "", "scores": []}]] * num_rows
    offsets = np.arange(num_rows + 1, dtype=np.int32)
    per_caption = {"caption_words": words.astype(np.int32), "score": rng.normal(25, 5, num_rows).round(4)}
    facts = {
        CAPTIONS: pyarrow.array(captions, pyarrow.list_(CAPTION_TYPE)),
        "width": rng.integers(50, 2000, num_rows),
        "height": rng.integers(50, 2000, num_rows),
    }
    annotations = {
        name: pyarrow.ListArray.from_arrays(offsets, pyarrow.array(values)) for name, values in per_caption.items()
    }
    return pyarrow.table(facts), pyarrow.table(annotations)


def kept_rows(facts: pyarrow.Table, annotations: pyarrow.Table) -> np.ndarray:
    """Rows that the rules keep, from the columns of the layers to the first reason of every row."""
    rules = load_rules(RULES, "rules")
    columns = read_columns(facts, annotations, columns_of(rules))
    fitted = tuple(
        Rule(rule.key, rule.filter.fitted(columns.of(rule.filter.scope)) if rule.key == "score" else rule.filter)
        for rule in rules
    )
    return np.flatnonzero(judge(columns, fitted).rule == -1)


def rules_alone(quick: bool) -> Contest:
    """Words, side, aspect and a percentile of a score."""
    tables = layers(1000 if quick else 1_000_000)
    return Contest(ours=lambda: kept_rows(*tables))


def rules_and_peer(quick: bool) -> Contest:
    """The same rules, statistics there on both sides."""
    need_peers()
    facts, annotations = layers(1000 if quick else 100_000)
    columns = read_columns(facts, annotations, ["caption_words", "score", "width", "height"])
    peer = Peer("data_juicer", words=columns.caption["caption_words"], score=columns.caption["score"], **columns.sample)
    return Contest(
        ours=lambda: kept_rows(facts, annotations),
        peer=peer,
        difference=lambda one, other: len(np.setxor1d(one, other)),
        tolerance=1,  # DataComp's threshold keeps the row at position N * 30 %, the peer's does not
        peer_version=peer.version,
    )


def many_hashes(quick: bool) -> Contest:
    """Random hashes, a hundredth of them a bit from another one."""
    rng = np.random.default_rng(0)
    num_hashes = 2000 if quick else 1_000_000
    hashes = rng.integers(0, 2**64, num_hashes, dtype=np.uint64)
    planted = num_hashes // 100
    bits = np.uint64(1) << rng.integers(0, 64, planted).astype(np.uint64)
    hashes[:planted] = hashes[-planted:] ^ bits
    rng.shuffle(hashes)
    return Contest(ours=pairs_of(hashes))


def pictures_and_peer(quick: bool) -> Contest:
    """Hashes of the embedded site's pictures, and of each reduced to half the size."""
    need_peers()
    paths = sorted(path for kind in ("png", "jpg", "webp") for path in (ROOT / "examples/site").rglob(f"*.{kind}"))
    values = []
    for path in paths[:: 20 if quick else 1]:
        try:
            image = open_image(path.read_bytes())
        except MediaError:
            continue  # the site has files that are there to be refused
        for each in (image, image.resize((max(1, image.width // 2), max(1, image.height // 2)))):
            values.append(int(hash_digits(grey_pixels(each)), 16))
    hashes = np.array(values, dtype=np.uint64)
    peer = Peer("imagededup", hashes=hashes)
    return Contest(ours=pairs_of(hashes), peer=peer, difference=different_pairs, tolerance=0, peer_version=peer.version)


def large_pictures(quick: bool) -> Contest:
    """Smooth pictures with grain, which PyTorch resizes, against Pillow's bicubic."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(4 if quick else 100):
        smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((640, 480))
        grainy = np.asarray(smooth, dtype=np.int64) + rng.integers(-6, 7, (480, 640, 3))
        images.append(Image.fromarray(grainy.clip(0, 255).astype(np.uint8)))

    def pixels(resize: Callable[[Image.Image], Image.Image]) -> Callable[[], np.ndarray]:
        return lambda: np.stack([np.asarray(resize(image), dtype=np.int16) for image in images])

    return Contest(
        ours=pixels(lambda image: scaled(image, 224, 168)),
        peer=pixels(lambda image: image.resize((224, 168), Image.Resampling.BICUBIC)),
        difference=lambda one, other: float(np.abs(one - other).max()),
        tolerance=2,  # levels; all but a few pixels agree within one
        amount=len(images),
    )


def pairs_of(hashes: np.ndarray) -> Callable[[], np.ndarray]:
    """A search for all pairs within the radius, int64 [P, 2]."""

    def search() -> np.ndarray:
        found = [np.stack(pair, axis=1) for pair in hamming_pairs(hashes, RADIUS)]
        return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)

    return search


def different_pairs(one: Any, other: Any) -> float:
    """How many pairs only one side has."""
    return float(len({*map(tuple, one.tolist())} ^ {*map(tuple, other.tolist())}))
