import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.shared.files import digest_tree
from pipelines.shared.stage import DATA
from pipelines.what_if import main
from tests.pipelines.builders import build_world, captions, drawing, picture_item, world_items

HOSTILE = "<script>alert(1)</script> & \u202e\x1b[31mred"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        items = world_items()
        items["web"].append(picture_item("hostile", drawing(80, 40, 40), captions(HOSTILE)))
        patch.setattr("tests.pipelines.builders.world_items", lambda: items)
        params = build_world(("annotate",))
        kept = {name: params[name] for name in ("seed", "sources", "annotators", "filters")}
        with Path("params.yaml").open("w") as file:
            YAML(typ="safe", pure=True).dump(plain(kept), file)
        yield


def plain(value):
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, tuple) else value


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["what-if", *arguments])
    main()


def test_counts_are_printed_and_the_page_is_written(project, monkeypatch, capsys):
    before = digest_tree(DATA)
    call(monkeypatch, "base", "--set", "rules.side.min_side_px=48", "--shown", "2")
    printed = capsys.readouterr().out
    assert re.search(r"^  small_side +1 +2 +\+1$", printed, re.M)
    assert re.search(r"^  kept +33 +32 +-1$", printed, re.M)
    assert "  kept -> small_side: 1\n" in printed
    page = Path(".vignette/what-if/base.html")
    assert printed.endswith(f"samples that change sides: {page}\n")
    text = page.read_text()
    assert "<code>kept</code> → <code>small_side</code>: 1" in text
    assert text.count("data:image/webp;base64,") == 1
    assert digest_tree(DATA) == before


def test_other_peoples_texts_do_nothing_to_the_page(project, monkeypatch, capsys):
    call(monkeypatch, "base", "--set", "rules.side.min_side_px=48", "--page", "pages/out.html")
    text = Path("pages/out.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; \\u202e\\u001b[31mred" in text
    assert "<script>alert" not in text and "\u202e" not in text
    assert re.findall(r'(?:src|href)="(?!data:|#)', text) == []
    assert "default-src 'none'" in text


def test_settings_on_the_page_are_escaped(project, monkeypatch):
    call(monkeypatch, "base", "--set", "rules.patterns.patterns=['<b>']", "--drop", "shape")
    text = Path(".vignette/what-if/base.html").read_text()
    assert "rules.patterns.patterns=[&#39;&lt;b&gt;&#39;]" in text and "without the rule shape" in text


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("base",), "nothing is supposed"),
        (("base", "--set", "rules.side"), "--set must be SETTING=VALUE"),
        (("base", "--set", "rules.side.min_side_px=x"), "min_side_px must be int, got 'x'"),
        (("bose", "--set", "seed=1"), r"filters.bose does not exist \(did you mean base\?\)"),
        (("base", "--drop", "side", "--shown", "-1"), "--shown must be at least 0, got -1"),
    ],
)
def test_mistakes_are_one_line(project, monkeypatch, arguments, message):
    with pytest.raises(SystemExit, match=f"^vignette what-if {arguments[0]}: .*{message}"):
        call(monkeypatch, *arguments)


def test_the_command_has_a_dash(project):
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "what-if", "--help"], capture_output=True, text=True, check=True
    )
    assert "usage: vignette what-if" in done.stdout
