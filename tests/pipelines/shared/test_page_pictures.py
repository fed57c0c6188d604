"""Which address of a picture or clip is taken, and what is told of those that are not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from pipelines.shared.page_pictures import LATE_SRC, Place, candidates, clip_place, is_stand_in, largest, picture_place

BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def place(html: str) -> Place:
    tree = LexborHTMLParser(html)
    node = tree.css_first("img, video")
    return picture_place(node) if node.tag == "img" else clip_place(node)


@pytest.mark.parametrize(
    ("html", "address", "left_out"),
    [
        ("<img src=x.png>", "x.png", ""),
        ("<img src=' x.png '>", "x.png", ""),
        ("<img src=x.png srcset='y.png 2x'>", "x.png", ""),
        ("<img data-src=x.png>", "x.png", ""),
        ("<img src=blank.gif data-src=x.png>", "x.png", "stand_in"),
        ("<img src=thumb.jpg data-src=x.jpg>", "x.jpg", "stand_in"),
        (f"<img src='{BLANK}' data-original=/i/x.png>", "/i/x.png", "stand_in"),
        (f"<img src='{BLANK}' data-srcset='s.jpg 100w, l.jpg 900w'>", "l.jpg", "stand_in"),
        (f"<img src='{BLANK}' srcset='s.jpg 1x, l.jpg 2x'>", "l.jpg", "stand_in"),
        (f"<img src='{BLANK}' data-src='{BLANK}' srcset='{BLANK} 1w, x.jpg 2w'>", "x.jpg", "stand_in"),
        ("<img src=about:blank data-hi-res-src=x.jpg>", "x.jpg", "stand_in"),
        ("<img src=x.jpg data-hi-res-src=y.jpg>", "x.jpg", ""),
        ("<img src=x.jpg data-src='{{ url }}'>", "x.jpg", ""),
        ("<img src=x.jpg data-src='item-12'>", "x.jpg", ""),
        ("<img src=x.jpg data-src=v.mp4>", "x.jpg", ""),
        ("<img src=x.jpg data-src=x.svg data-original=page.html>", "x.jpg", ""),
        ("<img src=b.gif srcset='x.jpg 640w'>", "x.jpg", "stand_in"),
        ("<img src=/i/spacer.gif?v=2 srcset='x.jpg 640w'>", "x.jpg", "stand_in"),
        ("<img src=/i/spacer.gif alt=x>", "", "stand_in"),
        ("<img src=/i/lazy-dog.jpg alt=x>", "/i/lazy-dog.jpg", ""),
        ("<img src=lazy.png><noscript><img src=x.png></noscript>", "", "stand_in"),
        ("<img src=blank.gif data-my-loader=' /i/x.jpg?w=9 '>", "/i/x.jpg?w=9", "stand_in"),
        ("<img src=blank.gif data-my-srcset='s.jpg 1x, l.jpg 2x'>", "l.jpg", "stand_in"),
        ("<img data-ratio=1.5 data-page=p.html data-low=blank.gif data-my-loader=x.webp>", "x.webp", ""),
        ("<img src=x.jpg data-my-loader=y.jpg>", "x.jpg", ""),
        ("<img srcset='s.jpg, l.jpg 2x'>", "l.jpg", ""),
        (f"<img src='{BLANK}'>", "", "inline"),
        ("<img src=''>", "", "no_address"),
        ("<img>", "", "no_address"),
        ("<img srcset='x.avif 1x'>", "", "other_format"),
        ("<picture><source srcset=x.webp><img src=x.jpg></picture>", "x.jpg", ""),
        ("<picture><source srcset=x.webp><img></picture>", "x.webp", ""),
        ("<picture><source type=image/avif srcset=x.avif><img></picture>", "", "other_format"),
        (
            "<picture><source type=image/avif srcset=x><source srcset='s.webp 9w, l.webp 90w'><img></picture>",
            "l.webp",
            "",
        ),
        (
            "<picture><source srcset=x.svg><source data-srcset='y.png 2x'><img src='data:,'></picture>",
            "y.png",
            "stand_in",
        ),
        ("<picture><source type='image/webp; q=1' srcset=x><img src=y.avif></picture>", "x", "stand_in"),
        ("<video src=v.mp4></video>", "v.mp4", ""),
        ("<video data-src=v.mp4 poster=p.jpg></video>", "v.mp4", ""),
        ("<video><source data-src=v.webm type=video/webm><source data-src=v.mp4 type=video/mp4></video>", "v.mp4", ""),
        ("<video><source src=v.webm type=video/webm><source src=v.MP4?x></video>", "v.MP4?x", ""),
        ("<video src=blob:x></video>", "", "inline"),
        ("<video src=blob:x><source src=v.mp4></video>", "v.mp4", ""),
        ("<video poster=p.jpg></video>", "", "no_address"),
    ],
)
def test_which_address(html: str, address: str, left_out: str) -> None:
    assert place(html) == Place(address, left_out)


@pytest.mark.parametrize("name", LATE_SRC)
def test_each_kin_of_data_src(name: str) -> None:
    assert place(f"<img src=loading.gif {name}=kite.jpg>") == Place("kite.jpg", "stand_in")


@pytest.mark.parametrize(
    ("srcset", "found"),
    [
        ("a", [("a", 0, 1.0)]),
        ("a,b", [("a,b", 0, 1.0)]),
        ("a, b", [("a", 0, 1.0), ("b", 0, 1.0)]),
        (" ,, a 2x ,b 1.5x,", [("a", 0, 2.0), ("b", 0, 1.5)]),
        ("a 100w, b 200w 50h", [("a", 100, 1.0), ("b", 200, 1.0)]),
        ("data:image/png;base64,A,B 1x, c 2x", [("data:image/png;base64,A,B", 0, 1.0), ("c", 0, 2.0)]),
        ("/w_1,h_2/a.jpg 1x,/w_2,h_4/a.jpg 2x", [("/w_1,h_2/a.jpg", 0, 1.0), ("/w_2,h_4/a.jpg", 0, 2.0)]),
        ("a (x, y) 2x, b", [("b", 0, 1.0)]),
        ("a 1x 2x, b 0w, c 50h, d -1x, e 1.w, f 1q, g 5w 2x, h", [("h", 0, 1.0)]),
        ("a 1e1x", [("a", 0, 10.0)]),
        ("", []),
        (" , ", []),
    ],
)
def test_candidates_by_the_standards_algorithm(srcset: str, found: list) -> None:
    assert list(candidates(srcset)) == found


@pytest.mark.parametrize(
    ("srcset", "address"),
    [
        ("a 320w, b 1024w, c 640w", "b"),
        ("a 320w, b 4096w, c 9000w", "b"),
        ("a 9000w, b 8000w", "b"),
        ("a, b 2x, c 1.5x", "b"),
        ("a 1x, b 100x", "a"),
        ("a 2x, b 2x", "a"),
        ("a.avif 900w, b.jpg 300w", "b.jpg"),
        ("data:,x 900w", ""),
    ],
)
def test_largest_sensible(srcset: str, address: str) -> None:
    assert largest(srcset) == address


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((f"/i/{name}", True) for name in ("blank.gif", "spacer.png", "img-placeholder.svg", "1x1.gif", "lazy.jpg?x")),
        *(
            (name, False)
            for name in ("cat.jpg", "blanket.jpg", "ab.gif", "placemat.png", "lazybones.jpg", "blank", "-" * 9999)
        ),
    ],
)
def test_names_that_stand_in(name: str, expected: bool) -> None:
    assert is_stand_in(name) is expected


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab ,()0123456789.wxh\t-e:", max_size=80))
def test_any_srcset_gives_a_part_of_it_or_nothing(srcset: str) -> None:
    found = largest(srcset)
    assert found in srcset and not found.endswith(",") and not found.startswith(",") and found.split() in ([], [found])


def test_a_huge_srcset_takes_no_time() -> None:
    assert largest("a 1w, " * 1_000_000 + "b 9w") == "a"
    assert largest("(" * 3_000_000) == "(" * 20_000
