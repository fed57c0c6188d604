"""Command `frequencies PACK FILE`: freeze how common n-grams are in a pack's training captions, for CIDEr-D.

CIDEr-D weighs an n-gram by how few images' captions hold it. Counted once and kept in git, the weights are the same for
every test set and every later pack, so that scores stay on one scale (`metrics.captions`).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.shared.files import atomic_path, digest_file
from pipelines.shared.manifests import read_manifest
from pipelines.shared.shards import read_shard
from pipelines.shared.stage import DATA, one_line_errors

SPLIT = "train"


def freeze(pack: Path, origins: Sequence[str], path: Path) -> tuple[int, str]:
    """Count the n-grams of a pack's training captions and write the file.

    Args:
        pack: The pack's folder.
        origins: Which captions count; a sample without one of them is left out.
        path: The file; its folder is made where it is missing.

    Returns:
        The number of samples counted, and the file's sha256.

    Raises:
        ValueError: The pack is not there, or fewer than two samples have such a caption.
    """
    from metrics.shared.document_frequency import build_document_frequency, write_document_frequency

    chosen = [
        texts
        for info in read_manifest(pack).files(f"{SPLIT}/")
        for sample in read_shard(pack, info)
        if (texts := [caption.text for caption in sample.captions if caption.origin in origins])
    ]
    frequency = build_document_frequency(chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        write_document_frequency(frequency, temporary)
    return frequency.num_images, digest_file(path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="vignette frequencies",
        description="Count how many training samples' captions hold each n-gram, and freeze it in a file for CIDEr-D.",
    )
    parser.add_argument("pack", help="key of the pack")
    parser.add_argument("file", type=Path, help="the file to write, in metrics/ so that evaluations depend on it")
    parser.add_argument("--origins", nargs="+", default=["human"], help="captions that count (default: human)")
    arguments = parser.parse_args()
    with one_line_errors("frequencies"):
        num_images, sha256 = freeze(DATA / "pack" / arguments.pack, arguments.origins, arguments.file)
        sys.stdout.write(
            f"{num_images} training samples counted. For a metric of module captions in params.yaml:\n"
            f"document_frequency: {arguments.file.as_posix()}\n"
            f"document_frequency_sha256: {sha256}\n"
        )


if __name__ == "__main__":
    main()
