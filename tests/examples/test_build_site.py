import csv
import hashlib
import json
import re
import shutil
import sys
import tarfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import build_site
import site_corpora
import site_fetch
import site_items
import site_pages

SITE = Path(build_site.__file__).parent / "site"
MEDIA = {".png", ".jpg", ".gif", ".webp", ".mp4"}


class Elements(HTMLParser):
    """Collects elements with their attributes, and the text of captions."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.captions, self.inside = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "figcaption":
            self.captions.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside &= tag != "figcaption"

    def handle_data(self, data):
        if self.inside:
            self.captions[-1] += data

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def item(root, name, title="a title", caption="a title and words", frames=1, **more):
    """Draws a picture of one or several frames into a make-believe package."""
    folder = root / "package"
    shade = int(site_items.rank(name)[:2], 16)
    pictures = [Image.new("RGBA", (40, 30), (shade, 10 * frame, 90, 128)) for frame in range(frames)]
    original = folder / f"{name}.{'png' if frames == 1 else 'webp'}"
    original.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(original, **({"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}))
    package = site_fetch.Package(name="make-believe", version="1.0", root=folder)
    return site_items.Item(
        original=original, package=package, licence="CC0-1.0", name=name, title=title, caption=caption, **more
    )


@pytest.fixture
def sections(tmp_path):
    return {
        "clipart": [item(tmp_path, f"things/thing-{number:02}") for number in range(22)],
        "stamps": [item(tmp_path, "fruit/pear", "A pear.", "A pear.", translations=(("de", "Eine Birne."),))],
        "emoji": [item(tmp_path, f"faces/face-{number}", "a face", "a face") for number in range(3)],
        "emoji-motion": [item(tmp_path, f"waves/wave-{number}", "a wave", "a wave", frames=6) for number in range(3)],
    }


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_builds_are_byte_identical_and_a_build_replaces_an_older_one(tmp_path, sections):
    first, second = tmp_path / "first", tmp_path / "second"
    counts = build_site.build(sections, first, small=True)
    build_site.build({key: sections[key] for key in ("emoji",)}, second, small=True)
    build_site.build(sections, second, small=True)
    assert counts == {"clipart": 22, "stamps": 1, "emoji": 3, "emoji-motion": 3}
    assert tree(first) == tree(second)
    assert not list(tmp_path.glob("*.building"))
    kinds = Counter(Path(row["path"]).suffix for row in table(first / "SOURCES.csv") if "wave" in row["path"])
    assert kinds == {".mp4": 2, ".webp": 1}


def test_whole_packages_are_copied_as_they_are(tmp_path, sections):
    build_site.build(sections, tmp_path / "site", small=False)
    for key, items in sections.items():
        for one in items:
            copy = tmp_path / "site" / key / "img" / f"{one.name}{one.original.suffix}"
            assert copy.read_bytes() == one.original.read_bytes()
    page = Elements((tmp_path / "site/stamps/index.html").read_text(encoding="utf-8"))
    assert page.captions == ["A pear."]
    assert {"lang": "de"} in page.of("li")


def test_a_folder_that_is_not_a_site_is_left_alone(tmp_path, sections):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(SystemExit, match="not a site"):
        build_site.build(sections, tmp_path, small=True)
    assert (tmp_path / "letters.txt").read_text() == "mine"


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '" onload="x', "a &amp; b", "\u202egnp"])
@pytest.mark.parametrize(("section", "index"), [("clipart", 0), ("clipart", 14), ("clipart", 17), ("emoji", 0),
                                                ("emoji", 15), ("emoji-motion", 0), ("emoji-motion", 1)])  # fmt: skip
def test_captions_come_back_from_the_markup_unchanged_and_inert(tmp_path, hostile, section, index):
    one = item(tmp_path, "a/b", hostile, hostile)
    ending = ".mp4" if (section, index) == ("emoji-motion", 0) else ".webp"
    html = site_pages.entry(section, one, ending, index).html
    page = Elements(html)
    said = [value for _, attributes in page.elements for key, value in attributes.items() if key in ("alt", "title")]
    assert hostile in [*said, *page.captions]
    assert not page.of("script")
    assert all("onload" not in attributes for _, attributes in page.elements)


def test_clipart_captions_begin_with_the_title(tmp_path):
    words = "gramastar stars shapes magick geometry"
    page = Elements(site_pages.entry("clipart", item(tmp_path, "a/b", "gramastar", words), ".png", 0).html)
    assert page.of("img")[0]["alt"] == "gramastar"
    assert page.captions == [words]
    bare = site_pages.entry("clipart", item(tmp_path, "a/b", "gramastar", words), ".png", 19)
    assert not bare.captioned and "alt" not in Elements(bare.html).of("img")[0]


def test_the_help_names_the_defaults(capsys):
    with pytest.raises(SystemExit, match="0"):
        build_site.main(["--help"])
    assert "data/sites/packages" in capsys.readouterr().out


@pytest.mark.parametrize("program", ["apt-get", "dpkg-deb", "npm"])
def test_a_missing_package_client_is_named_with_how_to_install_it(tmp_path, monkeypatch, program):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == program else f"/bin/{name}")
    if program == "dpkg-deb":
        (tmp_path / "openclipart-png_1_all.deb").write_bytes(b"")
    with pytest.raises(SystemExit, match=f"{program} is missing; to install it: .{{10}}"):
        if program == "npm":
            site_fetch.npm_package("emojibase-data", tmp_path)
        else:
            site_fetch.apt_package("openclipart-png", tmp_path)


def test_a_failing_client_is_reported_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: shutil.os.path.join("/bin", "false"))
    with pytest.raises(SystemExit, match="failed: no message; run 'apt-get update' first"):
        site_fetch.apt_package("openclipart-png", tmp_path)
    assert not list(tmp_path.iterdir())


def test_downloads_and_unpacked_packages_are_reused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    data = tmp_path / "package/en/data.json"
    data.parent.mkdir(parents=True)
    entry = {
        "label": "waving hand",
        "hexcode": "1F44B",
        "group": 1,
        "skins": [{"label": "x", "hexcode": "1F44B-1F3FB"}],
    }
    data.write_text(json.dumps([entry]))
    archive = tmp_path / "emojibase-data-17.0.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "package", "package")
    package = site_fetch.npm_package("emojibase-data", tmp_path)
    archive.unlink()
    assert site_fetch.npm_package("emojibase-data", tmp_path) == package
    names = site_corpora.emoji_names(package)
    assert names == {(0x1F44B,): ("waving hand", "people-body"), (0x1F44B, 0x1F3FB): ("x", "people-body")}


SVG = """<svg xmlns="http://www.w3.org/2000/svg"><metadata><r:RDF xmlns:r="r"><c:Work xmlns:c="c" xmlns:d="d">
<d:title>a bat</d:title><d:description>ask jo@bats.example</d:description>
<d:subject><r:Bag><r:li>hash(0x8)</r:li><r:li></r:li><r:li>bat</r:li></r:Bag></d:subject>
<d:creator><c:Agent><d:title>jo</d:title></c:Agent></d:creator>
<c:license r:resource="{}"/></c:Work></r:RDF></metadata></svg>"""


def test_clipart_keeps_noise_masks_addresses_and_leaves_out_giants_and_other_licences(tmp_path):
    png, svg = tmp_path / "png/usr/share/openclipart/png", tmp_path / "svg/usr/share/openclipart/svg"
    png.mkdir(parents=True)
    svg.mkdir(parents=True)
    for name, side, licence in (("bat", 9, "http://cc/PublicDomain"), ("gpl", 9, "http://cc/GPL"), ("big", 9000, "")):
        Image.new("1", (side, side)).save(png / f"{name}.png")
        (svg / f"{name}.svg").write_text(SVG.format(licence))
    packages = [site_fetch.Package(name=key, version="1", root=tmp_path / key) for key in ("png", "svg")]
    whole = site_corpora.clipart(*packages, whole=True)
    assert [one.name for one in whole] == ["bat", "big", "gpl"]
    assert [one.licence for one in whole] == ["public domain", "public domain", "http://cc/GPL"]
    assert (whole[0].title, whole[0].caption) == ("a bat", "a bat ask [e-mail] hash(0x8) bat")
    assert {one.name for one in site_corpora.clipart(*packages, whole=False)} <= {"bat"}


def test_stamps_have_their_captions_in_all_languages(tmp_path):
    folder = tmp_path / "usr/share/tuxpaint/stamps/fruit"
    folder.mkdir(parents=True)
    (folder / "pear.txt").write_text(
        "A pear.\nde.utf8=Eine Birne.\npt_BR.utf8=Uma pera.\nsr@latin.utf8=Kruška.\nxx.utf8=\n"
    )
    (folder / "none.txt").write_text("No picture.\n")
    (folder / "pear.svg").write_text("<svg/>")
    (one,) = site_corpora.stamps(site_fetch.Package(name="stamps", version="1", root=tmp_path))
    assert (one.caption, one.original.suffix) == ("A pear.", ".svg")
    assert one.translations == (("de", "Eine Birne."), ("pt-BR", "Uma pera."), ("sr-Latn", "Kruška."))


def test_the_choice_is_spread_over_folders_and_does_not_depend_on_order(tmp_path):
    names = [f"stars/{number}" for number in range(400)] + [f"bats/{number}" for number in range(5)]
    chosen = site_items.spread(names, 0.1, 24)
    assert Counter(name.partition("/")[0] for name in chosen) == {"stars": 24, "bats": 1}
    assert site_items.spread(reversed(names), 0.1, 24) == chosen
    same = [item(tmp_path, "a/b"), item(tmp_path, "a/c")]
    assert [one.name for one in site_items.distinct([*same, same[0]])] == ["a/b-b", "a/c", "a/b-b"]


def test_the_committed_site_is_small_and_every_media_file_has_its_source():
    files = {str(path.relative_to(SITE)): path for path in SITE.rglob("*") if path.is_file()}
    assert sum(path.stat().st_size for path in files.values()) <= 8_000_000
    sources = {row["path"]: row for row in table(SITE / "SOURCES.csv")}
    assert {name for name, path in files.items() if path.suffix in MEDIA} <= set(sources) <= set(files)
    for name, row in sources.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == row["sha256"], name
        assert row["licence"] and row["original"] and bool(row["package"]) == bool(row["version"])
        assert "GPL" not in row["licence"]
    count = Counter(name.partition("/")[0] for name, row in sources.items() if row["package"])
    assert count["clipart"] >= 600 and count["emoji"] >= 600 and count["emoji-motion"] >= 60
    twins = {row["original"] for row in sources.values() if "anim" in row["package"]}
    assert not twins & {row["original"] for row in sources.values() if row["package"].endswith("-3d")}


def test_the_committed_pages_hold_the_planted_faults_and_no_address_or_machine_path():
    faults = table(SITE / "FAULTS.csv")
    kinds = Counter(row["fault"].partition(" as /")[0] for row in faults)
    assert kinds["missing picture"] == 4 and kinds["hostile caption"] == 3 and kinds["same bytes"] == 1
    assert kinds["picture without a caption"] >= 20
    pages = {f"/{path.relative_to(SITE)}": path.read_text(encoding="utf-8") for path in SITE.rglob("*.html")}
    for row in faults:
        inside = row["url"].removeprefix(f"{row['page'].rpartition('/')[0]}/")
        assert f'"{inside}"' in pages[row["page"]] or f'"{row["url"]}"' in pages[row["page"]], row
        if "404" in row["expected"] or row["url"].startswith("http"):
            assert not (SITE / row["url"].lstrip("/")).exists()
        elif row["url"].startswith("/"):
            assert (SITE / row["url"].lstrip("/")).exists(), row
    text = "\n".join(pages.values())
    assert "<script>" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\u202e" in text and "=HYPERLINK(" in text and "[e-mail]" in text
    assert "gramastar</b> stars shapes magick geometry" in text
    assert not site_corpora.E_MAIL.search(text)
    assert not re.search(r"/work/|/home/|/root/", text + (SITE / "SOURCES.csv").read_text(encoding="utf-8"))
    assert "Disallow: /private/" in (SITE / "robots.txt").read_text()


def test_the_pages_of_a_section_lead_to_each_other():
    for section in ("clipart", "emoji", "emoji-motion"):
        file, seen = "index.html", []
        while file:
            page = Elements((SITE / section / file).read_text(encoding="utf-8"))
            seen.append(file)
            file = next((link["href"] for link in page.of("a") if link.get("rel") == "next"), None)
        assert sorted(seen) == sorted(path.name for path in (SITE / section).glob("*.html"))
