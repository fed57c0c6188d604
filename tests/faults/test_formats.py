"""Files of formats that we do not take, and playlists and tables that would lead a decoder astray.

They are examined in a process whose audit hook sees every file, program and connection that Python opens. FFmpeg opens
its own below Python: the kernel tells who opens the file that they all name, and a socket who connects to it.
"""

import base64
import ctypes
import io
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pipelines.shared.decode import encode_clip, sniff
from pipelines.shared.examine import examine_in
from pipelines.shared.media import MediaLimits
from pipelines.shared.reasons import LinkError
from pipelines.shared.sandbox import Sandbox
from tests.faults.boxes import box, with_count, with_reference, with_tracks

ROOT = Path(__file__).resolve().parents[2]
PILLOW_WRITES = (
    "EPS",
    "PDF",
    "TIFF",
    "JPEG2000",
    "ICO",
    "AVIF",
    "BMP",
    "DIB",
    "PPM",
    "PCX",
    "SGI",
    "TGA",
    "ICNS",
    "QOI",
    "DDS",
)
PICTURES = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff", "gif": b"GIF89a", "webp": b"RIFF\x40\0\0\0WEBP"}
DAMAGE = {"type_refused", "decode_error", "truncated", "too_many_pixels", "side_limit", "aspect_limit"}
IN_OPEN, IN_NONBLOCK = 0x20, 0o4000
MOST_KIB, MOST_SEC = 400 << 10, 5.0


class Canary:
    """A clip that nobody has to read, and a port that nobody has to connect to.

    Attributes:
        path: The clip.
        address: `host:port`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "canary.mp4"
        self.path.write_bytes(clip())
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = "127.0.0.1:{}".format(*self.listener.getsockname()[1:])
        libc = ctypes.CDLL(None, use_errno=True)
        self.events = libc.inotify_init1(IN_NONBLOCK)
        assert self.events >= 0 and libc.inotify_add_watch(self.events, os.fsencode(self.path), IN_OPEN) >= 0

    def sings(self) -> bool:
        """Whether the clip was opened or the port connected to since the last time."""
        try:
            was_opened = bool(os.read(self.events, 65_536))
        except BlockingIOError:
            was_opened = False
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return was_opened
        return True

    def close(self) -> None:
        self.listener.close()
        os.close(self.events)


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    canary = Canary(tmp_path_factory.mktemp("canary"))
    yield canary
    canary.close()


def written(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(buffer, kind)
    return buffer.getvalue()


def clip() -> bytes:
    shades = np.arange(6, dtype=np.uint8)[:, None, None, None] * 30
    return encode_clip(np.broadcast_to(shades, (6, 32, 32, 3)), 6.0)


def by_hand(canary: Canary) -> dict[str, bytes]:
    """Files of other formats; where they can, they name the canary."""
    path, url = f"{canary.path}", f"http://{canary.address}/x.mp4"
    return {
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{path}"/></svg>'.encode(),
        "svg with an entity": f'<!DOCTYPE s [<!ENTITY x SYSTEM "file://{path}">]><svg>&x;</svg>'.encode(),
        "heic": box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", bytes(40)),
        "heif": box(b"ftyp", b"mif1\0\0\0\0mif1miaf") + box(b"meta", bytes(40)),
        "jpeg xl": b"\xff\x0a" + bytes(60),
        "jpeg xl in boxes": box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl "),
        "matroska": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01" + bytes(60),
        "avi": b"RIFF\x40\0\0\0AVI LIST" + bytes(60),
        "flash": b"FWS\x09" + bytes(60),
        "psd": b"8BPS\0\x01" + bytes(60),
        "wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
        "xbm": b"#define im_width 8\n#define im_height 8\nstatic char im_bits[] = {0};\n",
        "zip": b"PK\x03\x04" + bytes(60),
        "html": b"<!doctype html><img src=x>",
        "xml": f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "{path}">]><r>&x;</r>'.encode(),
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n".encode(),
        "m3u8 of the network": f"#EXTM3U\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n".encode(),
        "mpd": f'<MPD><BaseURL>{url}</BaseURL><Period><AdaptationSet mimeType="video/mp4"/></Period></MPD>'.encode(),
        "ffconcat": f"ffconcat version 1.0\nfile {path}\n".encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "rtsp": f"RTSP/1.0 302 Moved\r\nLocation: {url}\r\n\r\n".encode(),
        "smil": f'<smil><body><video src="{path}"/></body></smil>'.encode(),
        "strm": f"file://{path}\n".encode(),
    }


def refused(canary: Canary) -> dict[str, bytes]:
    return {kind: written(kind) for kind in PILLOW_WRITES} | by_hand(canary)


def disguised(canary: Canary) -> dict[str, bytes]:
    """The same behind the first bytes of a picture or clip."""
    start, others = box(b"ftyp", b"isom\0\0\2\0isommp41"), by_hand(canary)
    bodies = {f"{name} as mp4": start + body for name, body in others.items()}
    bodies |= {f"{name} in a box": start + box(b"free", body) + box(b"moov", b"") for name, body in others.items()}
    picked = {"eps": written("EPS"), "svg": others["svg"], "m3u8": others["m3u8"]}
    return bodies | {
        f"{name} as {kind}": first + body for kind, first in PICTURES.items() for name, body in picked.items()
    }


def lying() -> dict[str, bytes]:
    """Clips whose tables state more than there is."""
    media = clip()
    tables = {b"stsz": 8, b"stts": 4, b"stco": 4, b"stsc": 4, b"ctts": 4, b"stss": 4, b"dref": 4, b"stsd": 4}
    bodies = {
        f"{table.decode()} of {count:#x}": with_count(media, table, place, count)
        for table, place in tables.items()
        if table in media
        for count in (1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
    }
    bodies |= {"9 tracks": with_tracks(media, 9), "100 tracks": with_tracks(media, 100)}
    return bodies | {
        "a box of 2**62 bytes": media + struct.pack(">I4sQ", 1, b"mdat", 1 << 62),
        "a box of a byte": media + struct.pack(">I4s", 1, b"mdat"),
    }


def elsewhere(canary: Canary) -> dict[str, bytes]:
    """Whole clips that say that their samples lie in another file."""
    path, address = f"{canary.path}", canary.address
    targets = (path, f"file://{path}", f"http://{address}/x", f"tcp://{address}", f"concat:{path}|{path}")
    return {f"samples of {target}": with_reference(clip(), target.encode()) for target in targets}


def examined(bodies: dict[str, bytes]) -> tuple[dict[str, list], int]:
    """By name the reasons, the seconds and what was opened; and the most KiB of memory."""
    given = {"good png": written("PNG"), "good mp4": clip(), **bodies}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.watched"],
        input=json.dumps({name: base64.b64encode(body).decode() for name, body in given.items()}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found, most_kib = json.loads(done.stdout)
    assert found.pop("good png")[0] == found.pop("good mp4")[0] == ["", "type_refused"], "the controls are taken"
    return found, most_kib


@pytest.fixture(scope="module")
def outcomes(canary: Canary) -> tuple[dict[str, list], int]:
    return examined({**refused(canary), **disguised(canary), **lying(), **elsewhere(canary)})


def test_the_canary_sings(canary: Canary, tmp_path: Path) -> None:
    """FFmpeg as it is does open what a playlist names, and both ways of noticing notice it."""
    canary.sings()
    assert not canary.sings()
    (tmp_path / "list.m3u8").write_bytes(by_hand(canary)["m3u8"])
    with av.open(str(tmp_path / "list.m3u8")):
        assert canary.sings()
    with socket.create_connection(canary.listener.getsockname()):
        assert canary.sings() and not canary.sings()


def test_nothing_is_opened_started_or_asked(canary: Canary) -> None:
    canary.sings()
    found, _ = examined({**refused(canary), **disguised(canary), **elsewhere(canary)})
    assert len(found) >= 80 and not canary.sings()
    assert {name: seen for name, (_, _, seen) in found.items() if seen} == {}


def test_other_formats_are_refused_by_their_first_bytes(canary: Canary, outcomes: tuple[dict[str, list], int]) -> None:
    for name, body in refused(canary).items():
        assert sniff(body[:32]) is None, "the fetch ends before the rest is read"
        assert outcomes[0][name][0] == ["type_refused"], name


def test_a_disguise_is_damage(canary: Canary, outcomes: tuple[dict[str, list], int]) -> None:
    for name in disguised(canary):
        assert set(outcomes[0][name][0]) <= DAMAGE, name


def test_tables_that_lie_cost_neither_time_nor_memory(outcomes: tuple[dict[str, list], int]) -> None:
    found, most_kib = outcomes
    assert max(seconds for _, seconds, _ in found.values()) < MOST_SEC
    assert most_kib < MOST_KIB
    for name in ("9 tracks", "100 tracks", "stsz of 0x7fffffff", "stts of 0xffffffff"):
        assert "" not in found[name][0], name


def test_a_thousand_tracks_end_with_their_process_at_most() -> None:
    with Sandbox(timeout_sec=30.0) as sandbox, pytest.raises(LinkError, match=r"type_refused|decode_crash"):
        examine_in(sandbox, with_tracks(clip(), 1000), MediaLimits())
