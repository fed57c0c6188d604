"""Opt-outs that stand beside a resource: `X-Robots-Tag`, robots meta tags, `tdm-reservation`, `Content-Usage`.

Grammar of X-Robots-Tag and of robots meta tags: directives separated by commas (semicolons are taken as well), each
optionally with a value (`max-snippet: -1`), optionally behind the name of the robot that it is meant for
(`otherbot: noindex`). A name binds the directive right behind it; what follows after a comma counts for everybody,
because whether the name reaches that far is read differently, and a doubt is decided for the one who opts out.

Sources: developers.google.com/search/docs robots meta tag specification; TDMRep (W3C CG report, 2024-05-10);
draft-ietf-aipref-attach (not final).
"""

import re
from collections.abc import Iterable, Iterator

SIGNALS = ("noai", "noimageai", "noml", "noindex", "noimageindex", "none")
VALUED = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})
ROBOT_NAME = re.compile(r"[a-z][a-z0-9_.*-]*|\*")
NO_TRAINING = re.compile(r"(?:^|[,;\s])train-(?:ai|genai)\s*=\s*n(?:$|[,;\s])")


def directive_signal(values: Iterable[str], robot: str) -> str:
    """The first signal, in the order of `SIGNALS`, that X-Robots-Tag values or robots meta tags hold for a robot.

    Args:
        values: The header's values, or the `content` of meta tags.
        robot: Our name, lower case.

    Returns:
        The signal, or an empty string.
    """
    found = directives(values, robot)
    return next((signal for signal in SIGNALS if signal in found), "")


def directives(values: Iterable[str], robot: str) -> frozenset[str]:
    """All directives without a value that such values hold for a robot, in lower case."""
    return frozenset(name for value in values for name in _directives(value, robot))


def header_signal(robots_tags: Iterable[str], reservation: str, usage: str, robot: str) -> str:
    """The signal of an answer's headers, or an empty string.

    Args:
        robots_tags: Values of `X-Robots-Tag`.
        reservation: Values of `tdm-reservation`, separated by commas.
        usage: Value of `Content-Usage`.
        robot: Our name, lower case.
    """
    if signal := directive_signal(robots_tags, robot):
        return signal
    if "1" in (value.strip() for value in reservation.split(",")):
        return "tdm-reservation"
    return "content-usage" if NO_TRAINING.search(usage.lower()) else ""


def _directives(value: str, robot: str) -> Iterator[str]:
    for item in re.split(r"[,;]", value.lower()):
        name, colon, rest = (part.strip() for part in item.partition(":"))
        if not colon:
            yield name
        elif name not in VALUED and ROBOT_NAME.fullmatch(name) and name in (robot, "*"):
            yield rest
