"""Fixtures that several packages' tests share."""

import hashlib
import io
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.shared.decode import encode_clip
from pipelines.shared.manifests import Counts, Manifest, write_manifest
from pipelines.shared.records import Caption, Sample, sample_key
from pipelines.shared.shards import describe, write_shard

WritePack = Callable[..., Path]


def pytest_configure() -> None:
    """Hear SIGINT: a shell starts its background jobs without, which our commands respect and their tests inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def picture(index: int, side_px: int = 12) -> bytes:
    """A PNG of random pixels, not quite square."""
    pixels = np.random.default_rng(index).integers(0, 256, (side_px, side_px + index % 3, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def clip(index: int, side_px: int = 16) -> bytes:
    """An MP4 of two to five random frames."""
    shape = (2 + index % 4, side_px, side_px, 3)
    return encode_clip(np.random.default_rng(index).integers(0, 256, shape, dtype=np.uint8), 5.0)


def sample(index: int, media: str) -> Sample:
    """A sample with a web caption, every second one with a human caption too, every fifth with none."""
    captions = [Caption(text=f"web text {index}", origin="web"), Caption(text=f"web again {index}", origin="web")]
    if index % 2:
        captions.append(Caption(text=f"human text {index}", origin="human"))
    return Sample(
        key=sample_key("test", str(index)),
        extension="mp4" if media == "video" else "png",
        media=clip(index) if media == "video" else picture(index),
        captions=tuple(captions) if index % 5 else (),
    )


@pytest.fixture
def write_pack() -> WritePack:
    """Writes a small pack: `write_pack(folder, {"train": 20, "val": 6}, media="image", samples_per_shard=8)`."""

    def write(
        folder: Path, splits: Mapping[str, int], media: str = "image", samples_per_shard: int = 8, first: int = 0
    ) -> Path:
        shards = []
        for split, count in splits.items():
            samples = sorted((sample(first + i, media) for i in range(count)), key=lambda each: each.key)
            for start in range(0, count, samples_per_shard):
                path = folder / split / f"{start // samples_per_shard:05d}.tar"
                shards.append(describe(path, folder, write_shard(path, samples[start : start + samples_per_shard])))
            first += count
        total = sum(splits.values())
        manifest = Manifest(
            stage="pack",
            instance=folder.name,
            settings_digest="0" * 64,
            counts=Counts(num_in=total, kept=total),
            shards=tuple(shards),
            details={"media": media, "splits": dict(splits)},
        )
        write_manifest(folder, manifest)
        return folder

    return write


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """URL of an S3 server in this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """`s3://` URL of an empty bucket on that server, which the environment leads all programs to."""
    import boto3

    account = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**account, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    bucket = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:32]
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}"
