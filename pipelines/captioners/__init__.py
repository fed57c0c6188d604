"""Captioners of others: one module per kind of model or service that writes captions, found by module name.

Every plug-in module has a `Config` (frozen, keyword-only, hashable dataclass; ranges checked in `__post_init__`) and a
`Captioner(config)` as the protocol below says, which loads its model when it is first asked. A captioner knows one
batch of samples, and nothing of Beam, shards or `params.yaml`. Our own trained models need no module here: a recaption
round names their run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionerInput:
    """One sample, and how many texts are asked for.

    Attributes:
        key: The sample's key.
        frames: Mode RGB: the picture, or frames of a clip in their order.
        seeds: One for each text that is asked for, in [0, 2**63); the only source of randomness.
    """

    key: str
    frames: tuple[Image.Image, ...]
    seeds: tuple[int, ...]

    def frame(self, number: int) -> Image.Image:
        """What text `number` describes, by a captioner that sees one picture at a time.

        The texts of a clip are spread evenly over its frames; a single one describes the middle frame.
        """
        assert 0 <= number < len(self.seeds), f"text {number} of {len(self.seeds)}"
        return self.frames[(2 * number + 1) * len(self.frames) // (2 * len(self.seeds))]


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a captioner wrote about one sample.

    Attributes:
        texts: One for each seed, in their order; an empty one is none. Empty as a whole after an error.
        error: Reason code such as `http_503`, or empty.
    """

    texts: tuple[str, ...] = ()
    error: str = ""


class Captioner(Protocol):
    """What the stage needs.

    Attributes:
        model: Digest of the weights, or `server:<name>` where only a server has them.
        decoding: What else a text depends on beside its seed, as JSON values: method, limits, prompt.

    One that reads files of the project names them by a method `files() -> tuple[Path, ...]`, for workers that do not
    see the project's folder.
    """

    @property
    def model(self) -> str:
        """See above."""
        ...

    @property
    def decoding(self) -> Mapping[str, Any]:
        """See above."""
        ...

    def caption(self, samples: Sequence[CaptionerInput]) -> list[Written]:
        """One result per sample, in order; a sample's texts depend on that sample and its seeds alone.

        Raises:
            ValueError: The settings do not fit the model or the service, so that no sample would get a text.
        """
        ...
