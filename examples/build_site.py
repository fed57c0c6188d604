"""Builds a small static web site of captioned, freely licensed pictures and clips, for the crawl to fetch over HTTP.

`--scale debug` makes `examples/site`, which is committed: a choice of pictures, re-encoded. `--scale packages` makes a
site of the whole packages, files as they are, outside git. Pictures come from Debian and npm packages.
"""

import argparse
import csv
import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import site_corpora
import site_encode
import site_faults
import site_pages
from site_fetch import NPM_VERSIONS, apt_package, npm_package
from site_items import EMOJI_QUOTAS, MOTION_QUOTAS, Item, pick, plain, rank
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
STILL, *MOVING = (name for name in NPM_VERSIONS if name.startswith("@lobehub/"))
Row = tuple[str, ...]
Sections = dict[str, list[Item]]


def debug_sections(cache: Path) -> Sections:
    """Chooses the items of the committed site; of the moving emoji two of the four packages are enough.

    Args:
        cache: Folder that keeps downloads.

    Returns:
        Section to its items. No emoji is both in the still and in the moving section.
    """
    names = site_corpora.emoji_names(npm_package("emojibase-data", cache))
    moving = filter(plain, site_corpora.emoji([npm_package(name, cache) for name in MOVING[:2]], names))
    motion = pick((item for item in moving if site_corpora.frame_count(item.original) > 1), MOTION_QUOTAS)
    taken = {item.code for item in motion}
    stills = filter(plain, site_corpora.emoji([npm_package(STILL, cache)], names))
    png, svg = apt_package("openclipart-png", cache), apt_package("openclipart-svg", cache)
    return {
        "clipart": site_corpora.clipart(png, svg, whole=False),
        "emoji": pick((item for item in stills if item.code not in taken), EMOJI_QUOTAS),
        "emoji-motion": motion,
    }


def packages_sections(cache: Path) -> Sections:
    """Lists the items of the site of whole packages.

    Args:
        cache: Folder that keeps downloads.

    Returns:
        Section to its items.
    """
    names = site_corpora.emoji_names(npm_package("emojibase-data", cache))
    moving = site_corpora.emoji([npm_package(name, cache) for name in MOVING], names)
    png, svg = apt_package("openclipart-png", cache), apt_package("openclipart-svg", cache)
    return {
        "clipart": site_corpora.clipart(png, svg, whole=True),
        "stamps": site_corpora.stamps(apt_package("tuxpaint-stamps-default", cache)),
        "emoji": site_corpora.emoji([npm_package(STILL, cache)], names),
        "emoji-motion": [item for item in moving if site_corpora.frame_count(item.original) > 1],
    }


def content(section: str, item: Item, index: int, *, small: bool) -> tuple[str, bytes]:
    """Gives the file that the site serves for an item.

    Args:
        section: The item's section.
        item: The item.
        index: Its place in the section; of the moving emoji every second one becomes a clip.
        small: Re-encode it for git; else the file stays as it is.

    Returns:
        The file name's ending and the file's bytes.
    """
    if not small:
        return item.original.suffix, item.original.read_bytes()
    if section == "emoji-motion":
        return site_encode.animation(item.original) if index % 2 else site_encode.clip(item.original)
    return (site_encode.emoji if section == "emoji" else site_encode.clipart)(item.original, item.name)


def save(path: Path, data: bytes) -> str:
    """Writes a file and the folders above it.

    Args:
        path: The file.
        data: Its bytes.

    Returns:
        Their sha256 in hex.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def interleave(blocks: Sequence[str], extra: Sequence[str]) -> list[str]:
    """Spreads further blocks evenly among blocks.

    Args:
        blocks: Markup of a section's items.
        extra: Markup of its faults.

    Returns:
        All of them.
    """
    mixed = list(blocks)
    for number in range(len(extra), 0, -1):
        mixed.insert(number * len(blocks) // (len(extra) + 1), extra[number - 1])
    return mixed


def build_section(
    root: Path, section: str, items: list[Item], sections: Sequence[str], *, small: bool
) -> tuple[list[Row], list[Row]]:
    """Writes a section's files and pages.

    Args:
        root: Folder of the site.
        section: Name of the section.
        items: Its items.
        sections: All sections, for the menu.
        small: Re-encode the files for git.

    Returns:
        Rows of SOURCES.csv and rows of FAULTS.csv.
    """
    sources: list[Row] = []
    entries: list[site_pages.Entry] = []
    for index, item in enumerate(tqdm(items, desc=section, unit="file", disable=None)):
        ending, data = content(section, item, index, small=small)
        entries.append(site_pages.entry(section, item, ending, index))
        path = f"{section}/{entries[-1].url}"
        digest = save(root / path, data)
        sources.append((path, item.package.name, item.package.version, item.licence, item.inside, digest))
    first = entries[0].url
    faults = site_faults.planted(section, (first, (root / section / first).read_bytes()))
    for fault in faults:
        if fault.content is not None:
            digest = save(root / fault.url.lstrip("/"), fault.content)
            sources.append((fault.url.lstrip("/"), "", "", "CC0-1.0", site_faults.DRAWN, digest))
    blocks = interleave([entry.html for entry in entries], [fault.html for fault in faults])
    for file, html in site_pages.section_pages(section, blocks, sections).items():
        save(root / section / file, html.encode())
    kinds = {fault.html: (fault.url, fault.kind, fault.expected) for fault in faults}
    kinds |= {
        entry.html: (f"/{section}/{entry.url}", "picture without a caption", "rejected: no caption")
        for entry in entries
        if not entry.captioned
    }
    places = [(site_pages.page_file(place), block) for place, block in enumerate(blocks) if block in kinds]
    return sources, [(f"/{section}/{file}", *kinds[block]) for file, block in places]


def build(sections: Sections, out: Path, *, small: bool) -> dict[str, int]:
    """Builds a site, and puts it in its place when it is whole.

    Args:
        sections: Section to its items.
        out: Folder of the site; one that this function built before is replaced.
        small: Re-encode the files for git.

    Returns:
        Section to number of items.

    Raises:
        SystemExit: If the folder holds something else.
    """
    if out.exists() and any(out.iterdir()) and not (out / "SOURCES.csv").exists():
        raise SystemExit(
            f"build_site: --out {out} holds something that is not a site of this script; name another folder"
        )
    root = out.with_name(f"{out.name}.building")
    shutil.rmtree(root, ignore_errors=True)
    sources: list[Row] = []
    faults: list[Row] = []
    for section, items in sections.items():
        more_sources, more_faults = build_section(root, section, items, list(sections), small=small)
        sources += more_sources
        faults += more_faults
    for path, data in site_faults.behind_robots().items():
        sources.append((path, "", "", "CC0-1.0", site_faults.DRAWN, save(root / path, data)))
    counts = {section: len(items) for section, items in sections.items()}
    write_frame(root, counts, sources)
    write_csv(root / "SOURCES.csv", ("path", "package", "version", "licence", "original", "sha256"), sorted(sources))
    write_csv(root / "FAULTS.csv", ("page", "url", "fault", "expected"), faults)
    if out.exists():
        shutil.rmtree(out)
    root.rename(out)
    return counts


def write_frame(root: Path, counts: dict[str, int], sources: Sequence[Row]) -> None:
    """Writes what is not in a section: the home page, the page about licences, robots.txt, style and README.

    Args:
        root: Folder of the site.
        counts: Section to number of items.
        sources: Rows of SOURCES.csv, those without a package are drawn.
    """
    previews = []
    for section in counts:
        paths = [row[0] for row in sources if row[1] and row[0].startswith(f"{section}/img/")]
        previews += [(min(paths, key=rank), site_pages.SECTIONS[section][0])] if paths else []
    packages = sorted({row[1:4] for row in sources if row[1]})
    table = "\n".join(f"| `{name}` | {version} | {licence} |" for name, version, licence in packages)
    number = "\n".join(
        f"| `{section}/` | {count} | {site_pages.SECTIONS[section][1]} |" for section, count in counts.items()
    )
    readme = (
        (HERE / "site_readme.md").read_text(encoding="utf-8").replace("{packages}", table).replace("{counts}", number)
    )
    files = {
        "index.html": site_pages.home(list(counts), previews),
        "about.html": site_pages.about(list(counts)),
        "style.css": site_pages.STYLE,
        "robots.txt": site_faults.ROBOTS,
        "README.md": readme,
    }
    for name, text in files.items():
        save(root / name, text.encode())


def write_csv(path: Path, header: Row, rows: Iterable[Row]) -> None:
    """Writes a table.

    Args:
        path: The file.
        header: Names of the columns.
        rows: The rows.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        arguments: Command line; by default the program's own.
    """
    parser = argparse.ArgumentParser(prog="build_site", description=__doc__)
    parser.add_argument("--scale", choices=("debug", "packages"), default="debug", help="which site (default: debug)")
    parser.add_argument("--out", type=Path, help="folder of the site (default: examples/site or data/sites/packages)")
    parser.add_argument(
        "--cache", type=Path, default=Path("data/packages"), help="keeps downloads (default: data/packages)"
    )
    options = parser.parse_args(arguments)
    small = options.scale == "debug"
    out = options.out or (HERE / "site" if small else Path("data/sites/packages"))
    options.cache.mkdir(parents=True, exist_ok=True)
    cache = options.cache.resolve()
    counts = build(debug_sections(cache) if small else packages_sections(cache), out, small=small)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {', '.join(f'{count} {section}' for section, count in counts.items())}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
