"""A page's text from its bytes, as browsers read it: WHATWG's Encoding and HTML standards.

Which encoding: a byte order mark, else the charset of the header, else of a meta tag in the first 1,024 bytes (or of an
XML declaration), else UTF-8. A label means what it means on the web (`webencodings` has the table): iso-8859-1 is
windows-1252, gb2312 is GBK. A meta tag cannot say UTF-16 (it would not have been found), and encodings that hide ASCII
in other characters give nothing.

Python's codecs differ from the standard's indexes in places, which are put right here: bytes that windows code pages
leave open, NEC's and IBM's characters in Japanese encodings, some twenty characters of GB18030, one letter of KOI8-U.
Left as they are: 192 rare characters of Hong Kong in Big5, which come out as U+FFFD, and two of its symbols.
Sources: encoding.spec.whatwg.org; html.spec.whatwg.org, "prescan a byte stream to determine its encoding".
"""

import codecs
import re

import webencodings

PRESCAN_BYTES = 1024
MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"))
CHARSET = re.compile(r"(?i)charset\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s;\"',]+))")
TAG = re.compile(rb"<(?:(?P<meta>[mM][eE][tT][aA])(?=[\s/])|/?[a-zA-Z][^\s>]*)")
ATTRIBUTE = re.compile(rb"[\s/]*([^\s/>][^\s/>=]*)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"'][^\s>]*)))?")
XML = re.compile(rb"<\?xml[^>]*?\sencoding\s*=\s*[\"']([^\"'>]+)[\"']")
JIS_ESCAPE = re.compile(rb"(\x1b(?:\$[@B]|\([BJI]))")
# what Python's codecs say, and what the standard's indexes say
FIXES = {
    "gb18030": str.maketrans(
        "\ue5e5\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue7c7"
        "\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
        "\u3000\ufe10\ufe12\ufe11\ufe13\ufe14\ufe15\ufe16\ufe17\ufe18\ufe19\u1e3f"
        "\u9fb4\u9fb5\u9fb6\u9fb7\u9fb8\u9fb9\u9fba\u9fbb",
    ),
    "euc-jp": str.maketrans("\u301c\u2016\u2212\xa2\xa3\xac", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2"),
    "big5": str.maketrans(
        "\u2022\uff64\u203e\u223c\u2641\u2609\xa5\xa2\xa3", "\u2027\ufe51\xaf\uff5e\u2295\u2299\uffe5\uffe0\uffe1"
    ),
    "koi8-u": str.maketrans("\u255d\u256c", "\u045e\u040e"),
}


def decode_html(body: bytes, content_type: str) -> str:
    """A page's text; bytes that its encoding does not have become U+FFFD.

    Args:
        body: Its bytes.
        content_type: As the server states it.
    """
    for mark, name in MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    return decoded(body, encoding_name(body, content_type))


def encoding_name(body: bytes, content_type: str) -> str:
    """The standard's name of the encoding of a page without a byte order mark."""
    head = body[:PRESCAN_BYTES]
    return _named(_stated(content_type)) or _by_meta(head) or _by_xml(head) or "utf-8"


def decoded(body: bytes, name: str) -> str:
    """Bytes in one of the standard's encodings, by its name there."""
    if name == "replacement":
        return "\ufffd" if body else ""
    if name == "iso-2022-jp":
        return _iso_2022_jp(body)
    if name == "euc-jp":
        body = body.replace(b"\x8f\xa2\xb7", b"\xa1\xc1")  # its second tilde is the first one
    name = "gb18030" if name == "gbk" else name
    encoding = webencodings.lookup(name)
    text, _ = encoding.codec_info.decode(body, ERRORS.get(name, "replace"))
    return str(text).translate(FIXES[name]) if name in FIXES else str(text)


def _stated(text: str) -> str:
    found = CHARSET.search(text)
    return next((label for label in found.groups() if label is not None), "") if found else ""


def _named(label: str) -> str:
    encoding = webencodings.lookup(label) if label.isascii() else None
    return str(encoding.name) if encoding else ""


def _by_meta(head: bytes) -> str:
    """What the first meta tag with an encoding says."""
    place = head.find(b"<")
    while place >= 0:
        if head.startswith(b"<!--", place):
            end = head.find(b"-->", place + 2)
            place = end + 3 if end >= 0 else len(head)
        elif tag := TAG.match(head, place):
            attributes, place = _attributes(head, tag.end())
            if tag["meta"] and (name := _of_meta(attributes)):
                return name
        elif head[place + 1 : place + 2] in (b"!", b"/", b"?"):
            end = head.find(b">", place)
            place = end if end >= 0 else len(head)
        else:
            place += 1
        place = head.find(b"<", place)
    return ""


def _attributes(head: bytes, place: int) -> tuple[dict[str, str], int]:
    """A tag's attributes, the first of each name, and where it ends."""
    found: dict[str, str] = {}
    while attribute := ATTRIBUTE.match(head, place):
        name, *values = attribute.groups()
        value = next((each for each in values if each is not None), b"")
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        place = attribute.end()
    return found, place


def _of_meta(attributes: dict[str, str]) -> str:
    label = attributes.get("charset")
    if label is None:
        is_pragma = attributes.get("http-equiv", "").lower() == "content-type"
        label = _stated(attributes.get("content", "")) if is_pragma else ""
    return _ascii_like(_named(label))


def _by_xml(head: bytes) -> str:
    declaration = XML.match(head)
    return _ascii_like(_named(declaration[1].decode("latin-1"))) if declaration else ""


def _ascii_like(name: str) -> str:
    """An encoding that a tag in ASCII can have stood in."""
    return {"utf-16le": "utf-8", "utf-16be": "utf-8", "x-user-defined": "windows-1252"}.get(name, name)


def _iso_2022_jp(body: bytes) -> str:
    """ISO-2022-JP by its escapes: JIS X 0208 as EUC-JP, katakana as Shift_JIS, all else as ASCII."""
    texts, escape = [], b""
    for part in JIS_ESCAPE.split(body):
        if JIS_ESCAPE.fullmatch(part):
            escape = part
        elif escape.startswith(b"\x1b$"):
            texts.append(decoded(bytes(byte | 0x80 if 0x21 <= byte <= 0x7E else byte for byte in part), "euc-jp"))
        elif escape == b"\x1b(I":
            texts.append(
                bytes(byte | 0x80 if 0x21 <= byte <= 0x5F else byte for byte in part).decode("cp932", "replace")
            )
        else:
            texts.append(part.decode("ascii", "replace"))
    return "".join(texts)


def _open_byte(error: UnicodeError) -> tuple[str, int]:
    """A byte that a Windows code page leaves open: a control character, or one letter of windows-1255."""
    assert isinstance(error, UnicodeDecodeError), "only decoders use it"
    byte = error.object[error.start]
    text = chr(byte) if 0x80 <= byte <= 0x9F else "\u05ba" if byte == 0xCA else "\ufffd"
    return text, error.start + 1


def _euro(error: UnicodeError) -> tuple[str, int]:
    """A single 0x80 is the euro sign in GBK."""
    assert isinstance(error, UnicodeDecodeError), "only decoders use it"
    is_euro = error.object[error.start] == 0x80
    return ("\u20ac", error.start + 1) if is_euro else ("\ufffd", error.end)


def _nec_row(error: UnicodeError) -> tuple[str, int]:
    """NEC's and IBM's characters in EUC-JP, which Shift_JIS as Windows has it knows."""
    assert isinstance(error, UnicodeDecodeError), "only decoders use it"
    row, cell = (byte - 0xA1 for byte in (*error.object[error.start : error.start + 2], 0)[:2])
    if 0 <= row < 94 and 0 <= cell < 94:
        lead, trail = divmod(row * 94 + cell, 188)
        pair = bytes((lead + (0x81 if lead < 0x1F else 0xC1), trail + (0x40 if trail < 0x3F else 0x41)))
        if len(text := pair.decode("cp932", "replace")) == 1:
            return text, error.start + 2
    return "\ufffd", error.end


codecs.register_error("vignette.open_byte", _open_byte)
codecs.register_error("vignette.euro", _euro)
codecs.register_error("vignette.nec_row", _nec_row)
ERRORS = {
    "gb18030": "vignette.euro",
    "euc-jp": "vignette.nec_row",
    "windows-874": "vignette.open_byte",
    **{f"windows-{number}": "vignette.open_byte" for number in range(1250, 1259)},
}
