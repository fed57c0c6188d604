"""Encodings as the web means them, against the standard's own statements and the page's bytes."""

import pytest
import webencodings
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.shared.charsets import decode_html, decoded, encoding_name


def by_header(label: str) -> str:
    return encoding_name(b"", f"text/html; charset={label}")


@pytest.mark.parametrize(
    ("labels", "name"),
    [  # encoding.spec.whatwg.org, 4.2
        ("iso-8859-1 latin1 ascii us-ascii l1 cp1252 x-cp1252 ISO_8859-1:1987 ansi_x3.4-1968", "windows-1252"),
        ("gb2312 gbk gb_2312-80 x-gbk chinese csGB2312 iso-ir-58", "gbk"),
        ("shift_jis sjis ms_kanji windows-31j x-sjis ms932", "shift_jis"),
        ("euc-kr ks_c_5601-1987 korean windows-949 ksc5601", "euc-kr"),
        ("big5 big5-hkscs cn-big5 x-x-big5", "big5"),
        ("iso-8859-9 latin5 windows-1254 l5", "windows-1254"),
        ("tis-620 iso-8859-11 windows-874 dos-874", "windows-874"),
        ("koi8 koi8-r koi8_r cskoi8r", "koi8-r"),
        ("koi8-u koi8-ru", "koi8-u"),
        ("utf8 UTF-8 unicode-1-1-utf-8 x-unicode20utf8", "utf-8"),
        ("utf-16 ucs-2 unicode utf-16le iso-10646-ucs-2", "utf-16le"),
        ("hz-gb-2312 iso-2022-kr iso-2022-cn csiso2022kr replacement", "replacement"),
        ("visual iso-8859-8 hebrew", "iso-8859-8"),
        ("logical iso-8859-8-i", "iso-8859-8-i"),
        ("mac macintosh x-mac-roman", "macintosh"),
        ("utf-7 zip rot13 idna unicode_escape utf-32 gb99999 no-such", "utf-8"),
    ],
)
def test_labels(labels: str, name: str) -> None:
    assert {label: by_header(label) for label in labels.split()} == dict.fromkeys(labels.split(), name)


def test_every_label_of_the_standard_decodes_ascii() -> None:
    assert len(webencodings.LABELS) == 228
    for label, name in webencodings.LABELS.items():
        assert by_header(label) == by_header(f'" {label.upper()} "') == name
        if name not in ("replacement", "utf-16le", "utf-16be"):
            assert decoded(b"<img alt='a cat'>\n", name) == "<img alt='a cat'>\n"


@pytest.mark.parametrize(
    ("name", "body", "text"),
    [
        ("windows-1252", b"\x80\x81\x8d\x9d\x9f\xff", "\u20ac\x81\x8d\x9d\u0178\xff"),
        ("windows-1255", b"\xca\xd9", "\u05ba\ufffd"),
        ("windows-1253", b"\xaa\x90", "\ufffd\x90"),
        ("windows-874", b"\x80\x81\xa1\xdb", "\u20ac\x81\u0e01\ufffd"),
        ("koi8-u", b"\xae\xbe\xa4", "\u045e\u040e\u0454"),
        ("gbk", b"\x80 \xd6\xec\xe9F\xbb\xf9 \xa6\xd9 \x81\x30\x81\x30", "\u20ac \u6731\u9555\u57fa \ufe10 \x80"),
        ("gb18030", b"\xa8\xbc\xfe\x59", "\u1e3f\u9fb4"),
        ("shift_jis", b"\x87\x40\x81\x60\xfa\x40\xb1", "\u2460\uff5e\u2170\uff71"),
        ("euc-jp", b"\xad\xa1\xa1\xc1\x8e\xb1\x8f\xa2\xb7\xf9\xa1", "\u2460\uff5e\uff71\uff5e\u7e8a"),
        ("iso-2022-jp", b"a\x1b$B$\"-!!A\x1b(Bb\x1b(I1\x1b(B", "a\u3042\u2460\uff5eb\uff71"),
        ("euc-kr", b"\x8c\x63 \xb0\xa1", "\ub620 \uac00"),
        ("big5", b"\xa4\xa4\xa1\x45\xa2\x44\x88\x62", "\u4e2d\u2027\uffe5\u00ca\u0304"),
        ("x-user-defined", b"A\x80\xff", "A\uf780\uf7ff"),
        ("utf-16be", b"\x00a\xd8\x00", "a\ufffd"),
        ("utf-8", b"a\xe2\x82b\xf0\x9f", "a\ufffdb\ufffd"),
        ("replacement", b"<img src=x>", "\ufffd"),
        ("replacement", b"", ""),
    ],
)  # fmt: skip
def test_characters_of_the_standards_indexes(name: str, body: bytes, text: str) -> None:
    assert decoded(body, name) == text


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"<meta charset=koi8-r>", "koi8-r"),
        (b"<META CHARSET = 'Shift_JIS' />", "shift_jis"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=gb2312">', "gbk"),
        (b'<meta content="text/html;charset=big5" http-equiv=content-type>', "big5"),
        (b'<meta content="text/html; charset=big5">', "utf-8"),
        (b'<meta http-equiv=refresh content="charset=big5"><meta charset=koi8-r>', "koi8-r"),
        (b"<meta charset=utf-16>", "utf-8"),
        (b"<meta charset=utf-16be>", "utf-8"),
        (b"<meta charset=x-user-defined>", "windows-1252"),
        (b"<meta charset=nope><meta charset=koi8-r>", "koi8-r"),
        (b"<!-- <meta charset=big5> --><meta charset=koi8-r>", "koi8-r"),
        (b"<!--><meta charset=big5>", "big5"),
        (b'<a title="<meta charset=big5>"><meta charset=koi8-r>', "koi8-r"),
        (b"</a <meta charset=big5>><meta charset=koi8-r>", "koi8-r"),
        (b"<!doctype <meta charset=big5> <meta charset=koi8-r>", "koi8-r"),
        (b"<metal charset=big5>", "utf-8"),
        (b"<meta charset=big5 charset=koi8-r>", "big5"),
        (b"<meta charset=\xff\xfe>", "utf-8"),
        (b" " * 1003 + b"<meta charset=koi8-r>", "koi8-r"),
        (b" " * 1020 + b"<meta charset=koi8-r>", "utf-8"),
        (b'<?xml version="1.0" encoding="Shift_JIS"?><html>', "shift_jis"),
        (b'<?xml version="1.0" encoding="utf-16"?>', "utf-8"),
        (b"<", "utf-8"),
        (b"<!--", "utf-8"),
        (b"<meta ", "utf-8"),
    ],
)
def test_what_a_page_says_of_itself(head: bytes, name: str) -> None:
    assert encoding_name(head, "text/html") == name


def test_mark_before_header_before_meta() -> None:
    page = b"<meta charset=koi8-r>\xe4"
    assert decode_html(page, "text/html; charset=windows-1252").endswith("\xe4")
    assert decode_html(page, "text/html; charset=no-such").endswith("\u0414")
    for mark, codec in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        text = "<meta charset=koi8-r>Gr\xfc\xdfe"
        assert decode_html(mark + text.encode(codec), "text/html; charset=big5") == text


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(sorted(set(webencodings.LABELS.values()))))
def test_any_bytes_have_a_text_in_any_encoding(body: bytes, name: str) -> None:
    decoded(body, name).encode()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=40))
def test_any_head_has_an_encoding(head: bytes, content_type: str) -> None:
    assert encoding_name(b"<meta" + head, f"charset={content_type}") in set(webencodings.LABELS.values())
