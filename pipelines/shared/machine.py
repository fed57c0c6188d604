"""What of a machine can decide the last bits of a result: processor, its features, C library, Python, libraries.

Facts are kept beside the scores that were made there, in git, so they name neither host nor path nor user. Processor
features are what the processor itself answers (by NumPy, through `cpuid`), so an emulator tells of what it emulates.
"""

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.shared.provenance import PACKAGES, ROOT, imported_code, library_version

CPU_INFO = Path("/proc/cpuinfo")
CPU_FIELDS = ("vendor_id", "cpu family", "model")
VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)
"""Environment variables that choose other code for the same numbers."""
CODECS = ("libjpeg_turbo", "webp", "zlib")
WHERE_BOTH = ("codecs", "libraries")
"""Facts in which something that one machine lacks is no difference: what one can do without, the other one did."""
NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A fact in which two machines differ.

    Attributes:
        name: Such as `processor`, or `torch` of the libraries.
        there: What it is of the one.
        here: What it is of the other.
    """

    name: str
    there: str
    here: str


def machine_facts() -> dict[str, Any]:
    """Facts of this machine and of what is installed on it; JSON values."""
    return {
        "processor": processor(CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.is_file() else ""),
        "architecture": platform.machine(),
        "features": features(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": system(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": platform.python_version(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "codecs": codecs(),
        "libraries": libraries(),
    }


def machine_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[Difference]:
    """Where two machines differ; features as those that only one has, libraries and the like one by one."""
    names = dict.fromkeys([*there, *here])
    return [found for name in names for found in _differing(name, there.get(name), here.get(name))]


def processor(text: str) -> str:
    """Name, vendor, family and model from the text of `/proc/cpuinfo`; what Python knows where these are not there."""
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    numbers = " ".join(f"{name.removeprefix('cpu ')} {fields[name]}" for name in CPU_FIELDS[1:] if fields.get(name))
    more = " ".join(part for part in (fields.get("vendor_id", ""), numbers) if part)
    name = fields.get("model name", "") or platform.processor() or platform.machine()
    return f"{name} ({more})" if more else name


def features() -> list[str]:
    """Instruction sets that this processor has, sorted."""
    from numpy._core._multiarray_umath import __cpu_features__  # what `numpy.show_runtime` prints

    return sorted(name for name, there in __cpu_features__.items() if there)


def system() -> str:
    """The operating system, without the name of the host."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.mac_ver()[0]}".strip()


def codecs() -> dict[str, str]:
    """Versions of the codecs inside Pillow and PyAV."""
    import av
    from PIL import features as pillow

    found = {name: pillow.version(name) or "" for name in CODECS}
    return found | {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}


def libraries() -> dict[str, str]:
    """Versions of the libraries that the project's code imports, by the name that is imported; those installed."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    modules = tuple(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    versions = {name: library_version(name) for name in imported_code(modules)[1]}
    return {name: version for name, version in versions.items() if version}


def _differing(name: str, there: Any, here: Any) -> Iterator[Difference]:
    if there == here:
        return
    if isinstance(there, Mapping) or isinstance(here, Mapping):
        there, here = there or {}, here or {}
        for key in dict.fromkeys([*there, *here]):
            if name not in WHERE_BOTH or (key in there and key in here):
                yield from _differing(key, there.get(key), here.get(key))
    elif isinstance(there, list) or isinstance(here, list):
        sets = set(there or ()), set(here or ())
        only = [", ".join(sorted(one - other)) for one, other in (sets, sets[::-1])]
        yield Difference(name=f"{name} that only one has", there=only[0] or NOTHING, here=only[1] or NOTHING)
    else:
        yield Difference(name=name, there=_shown(there), here=_shown(here))


def _shown(value: Any) -> str:
    return NOTHING if value in (None, "") else str(value)
