"""One picture of a package, and the choice of those that a site shows. The choice never depends on chance or order."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from site_fetch import Package

EMOJI_QUOTAS = {"objects": 160, "food-drink": 105, "animals-nature": 105, "travel-places": 90, "smileys-emotion": 65,
                "activities": 65, "people-body": 60, "symbols": 30}  # fmt: skip
MOTION_QUOTAS = {"smileys-emotion": 36, "animals-nature": 32, "people-body": 22, "travel-places": 18, "food-drink": 4,
                 "objects": 4, "activities": 2, "flags": 2}  # fmt: skip
SKIN_TONES = frozenset(range(0x1F3FB, 0x1F400))
JOINER = 0x200D


@dataclass(frozen=True, kw_only=True)
class Item:
    """A picture or an animation of a package.

    Attributes:
        original: The file.
        package: The package that it came with.
        licence: Its licence.
        name: Its path in the site, without the ending.
        title: Its short caption; empty if it has none.
        caption: Its whole caption, which begins with the title; empty if it has none.
        translations: Pairs of language tag and caption.
        code: An emoji's code points.
    """

    original: Path
    package: Package
    licence: str
    name: str
    title: str
    caption: str
    translations: tuple[tuple[str, str], ...] = ()
    code: tuple[int, ...] = ()

    @property
    def inside(self) -> str:
        """The file's path inside the package."""
        return self.original.relative_to(self.package.root).as_posix()

    @property
    def folder(self) -> str:
        """The folder part of the name."""
        return self.name.rpartition("/")[0]


def rank(*words: str) -> str:
    """Gives texts a place in an order that looks random and never changes.

    Args:
        *words: The texts.

    Returns:
        The sha256 of the texts, in hex.
    """
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def spread(names: Iterable[str], share: float, cap: int) -> list[str]:
    """Takes a share of each folder, at least one name and at most a cap.

    Args:
        names: Paths.
        share: Part of each folder to take.
        cap: Most names to take from one folder.

    Returns:
        The chosen names, sorted.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders[name.rpartition("/")[0]].append(name)
    chosen: list[str] = []
    for inside in folders.values():
        chosen += sorted(inside, key=rank)[: min(cap, math.ceil(len(inside) * share))]
    return sorted(chosen)


def distinct(items: list[Item]) -> list[Item]:
    """Gives items that share a name the original file's name as well.

    Args:
        items: Items in a fixed order.

    Returns:
        Items whose names differ.
    """
    count = Counter(item.name for item in items)
    named = ((item, item.name if count[item.name] == 1 else f"{item.name}-{item.original.stem}") for item in items)
    return [replace(item, name=name) for item, name in named]


def plain(item: Item) -> bool:
    """Tells whether an emoji is neither a skin-tone variant nor joined from several.

    Args:
        item: An emoji.

    Returns:
        Whether it stands for a subject of its own.
    """
    return not SKIN_TONES & set(item.code) and JOINER not in item.code


def pick(items: Iterable[Item], quotas: dict[str, int]) -> list[Item]:
    """Takes so many items of each folder.

    Args:
        items: Items to choose from.
        quotas: Folder to number of items.

    Returns:
        The chosen items, by name.
    """
    chosen: list[Item] = []
    pool = sorted(items, key=lambda item: rank(item.name))
    for folder, quota in quotas.items():
        chosen += [item for item in pool if item.folder == folder][:quota]
    return sorted(chosen, key=lambda item: item.name)
