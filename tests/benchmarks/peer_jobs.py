"""What runs in the peers' own environment: `python peer_jobs.py JOB INPUT OUTPUT`, without this project's packages.

Prints `ready` and the peer's version when the inputs are read; then does the job for each line of its input, saves the
result as OUTPUT and prints `done`.
"""

import sys
from collections.abc import Callable
from importlib.metadata import version

import numpy as np


def data_juicer(path: str) -> tuple[str, Callable[[], np.ndarray]]:
    """Rows that its operators keep, from statistics that are there; the best 30 % first, by its selector."""
    import datasets
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops.filter import ImageAspectRatioFilter, ImageShapeFilter, WordsNumFilter
    from data_juicer.ops.selector import RangeSpecifiedFieldSelector
    from data_juicer.utils.constant import Fields

    columns = dict(np.load(path))  # or each access would read its column again
    datasets.disable_progress_bars()
    datasets.disable_caching()
    rows = range(len(columns["width"]))
    stats = [
        {
            "num_words": int(columns["words"][row]),
            "image_width": [int(columns["width"][row])],
            "image_height": [int(columns["height"][row])],
            "aspect_ratios": [float(columns["width"][row] / columns["height"][row])],
            "image_text_similarity": [float(columns["score"][row])],
        }
        for row in rows
    ]
    dataset = NestedDataset(datasets.Dataset.from_dict({"id": list(rows), Fields.stats: stats}))
    field = f"{Fields.stats}.image_text_similarity"
    selector = RangeSpecifiedFieldSelector(field_key=field, lower_percentile=0.7, upper_percentile=1.0)
    filters = [
        WordsNumFilter(min_num=3),
        ImageShapeFilter(min_width=200, min_height=200),
        ImageAspectRatioFilter(min_ratio=1 / 3, max_ratio=3.0),
    ]

    def work() -> np.ndarray:
        kept = selector.process(dataset)
        for each in filters:  # without the pass over all rows that only finds its statistics there
            kept = kept.filter(each.process, num_proc=1, batch_size=each.batch_size)
        return np.sort(np.array(kept["id"]))

    return version("py-data-juicer"), work


def imagededup(path: str) -> tuple[str, Callable[[], np.ndarray]]:
    """Pairs of hashes within 4 bits, by its fastest search."""
    from imagededup.methods import PHash

    hashes = {f"{number}": f"{value:016x}" for number, value in enumerate(np.load(path)["hashes"].tolist())}
    method = PHash(verbose=False)

    def work() -> np.ndarray:
        found = method.find_duplicates(encoding_map=hashes, max_distance_threshold=4)
        pairs = {(min(int(one), int(other)), max(int(one), int(other))) for one in found for other in found[one]}
        return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)

    return version("imagededup"), work


def main() -> None:
    """The command."""
    job, given, out = sys.argv[1:]
    peer_version, work = {"data_juicer": data_juicer, "imagededup": imagededup}[job](given)
    answers = sys.stdout
    sys.stdout = sys.stderr
    print("ready", peer_version, file=answers, flush=True)
    for _ in sys.stdin:
        np.save(out, work())
        print("done", file=answers, flush=True)


if __name__ == "__main__":
    main()
