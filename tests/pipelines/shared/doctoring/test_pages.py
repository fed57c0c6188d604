import pytest

from pipelines.shared.doctoring.pages import loads, remote_references

PAGE = "<!doctype html><html><head>{head}</head><body>{body}</body></html>"


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/vega.js"></script>',
        '<script type="module">\nimport x from "https://esm.example.org/x"\n</script>',
        "<script>fetch('//example.org/data.json')</script>",
        '<link rel="stylesheet" href="//cdn.example.org/a.css">',
        '<link rel="preload icon" href="http://example.org/i.png">',
        '<img alt="" src="http://example.org/i.png">',
        '<img src="a.png" srcset="a.png 1x, https://example.org/b.png 2x">',
        "<style>@font-face { src: url(https://example.org/f.woff2) }</style>",
        "<style>@import '//example.org/f.css';</style>",
        '<p style="background: url( &quot;x&quot; ); background: url(https://example.org/b.png)">',
        '<video poster="//example.org/p.jpg" src="v.mp4"></video>',
        '<svg><image href="https://example.org/i.svg"/></svg>',
        '<IMG SRC = "HTTPS://example.org/i.png">',
        '<iframe src="https://example.org"></iframe>',
        '{% if x %}<script src="https://cdn.example.org/{{ version }}/vega.js"></script>{% endif %}',
    ],
)
def test_what_is_loaded(write_project, html):
    project = write_project({"stages/page.html": PAGE.format(head="\n" + html, body="")})
    (found,) = remote_references(project)
    assert found.code == "D50" and found.place.startswith("stages/page.html:")
    assert found.place != "stages/page.html:1" and "example.org" in found.message.lower()


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://example.org">a link</a>',
        '<link rel="canonical" href="https://example.org/page">',
        '<img src="pictures/a.png"><script src="/local.js"></script>',
        '<img src="data:image/png;base64,AA//BB">',
        '<svg xmlns="http://www.w3.org/2000/svg"><use href="#a"/></svg>',
        "<style>a { background: url(b.png) } /* https://example.org */</style>",
        "<script>const place = 'https://example.org'; // import it\nlink.href = place</script>",
        "<p>see src=https://example.org in the text</p>",
        '<meta property="og:image" content="https://example.org/i.png">',
    ],
)
def test_what_is_not(write_project, html):
    assert not list(remote_references(write_project({"stages/page.html": PAGE.format(head="", body=html)})))


def test_styles_and_scripts(write_project):
    files = {
        "stages/a.css": "a {}\n@import url('https://example.org/a.css');\n",
        "stages/b.js": "\n\nimport {x} from 'https://example.org/b.js'\n",
        "stages/c.py": "page = '<script src=https://example.org/c.js>'\n",
        "elsewhere/d.html": '<script src="https://example.org/d.js"></script>',
    }
    found = [finding.place for finding in remote_references(write_project(files))]
    assert found == ["stages/a.css:2", "stages/b.js:3"], "templates of packages only"


def test_pages_among_the_outputs(write_project):
    page = '<html>\n<script src="https://cdn.example.org/vega@5"></script>'
    (found,) = remote_references(write_project({"runs/small/report/index.html": page}))
    assert found.place == "runs/small/report/index.html:2"


def test_lines_of_a_script_inside_a_page():
    text = "<html>\n<style>\na {}\nb { background: url(//example.org/b.png) }\n</style>"
    assert loads(".html", text) == [(4, "//example.org/b.png")]
