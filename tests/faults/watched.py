"""Examines bodies and tells what Python saw it do meanwhile: files, programs, connections.

Standard input has JSON `{name: base64}`; standard output gets JSON `{name: [reason, seconds, [event]]}` and the most
memory that the process had.
"""

import base64
import json
import sys
import time
from pathlib import Path

from PIL import Image

from pipelines.shared.decode import clip_frames, open_image
from pipelines.shared.examine import examine
from pipelines.shared.media import MediaError, MediaLimits

WATCHED = (
    "open",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.spawn",
    "socket.connect",
)
WATCHED += ("socket.getaddrinfo", "socket.bind", "ctypes.dlopen", "import")


def most_kib() -> int:
    """The most memory since this program started; `ru_maxrss` has that of the process that started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    bodies = {name: base64.b64decode(text) for name, text in json.load(sys.stdin).items()}
    seen: list[str] = []

    def watch(event: str, arguments: tuple) -> None:
        if event in WATCHED:
            seen.append(f"{event} {arguments[0]!r}"[:200])

    Image.init()  # what is loaded once is loaded before anybody watches
    for name in ("png", "mp4"):
        examine(bodies[f"good {name}"], MediaLimits())
    sys.addaudithook(watch)
    found = {}
    for name, body in bodies.items():
        seen.clear()
        started = time.monotonic()
        reasons = set()
        for read in (lambda each: examine(each, MediaLimits()), open_image, clip_frames):
            try:
                read(body)
            except MediaError as error:
                reasons.add(error.reason)
            else:
                reasons.add("")
        found[name] = [sorted(reasons), time.monotonic() - started, list(seen)]
    print(json.dumps([found, most_kib()]))


if __name__ == "__main__":
    main()
