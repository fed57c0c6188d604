"""Libraries and packaged networks that only some annotators need: found, checked, or asked for by the extra's name."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.shared.files import digest_file
from pipelines.shared.loading import LoadedOnce

if TYPE_CHECKING:
    import onnxruntime


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Around imports of libraries that an extra of the project installs.

    Args:
        extra: Name of the extra.

    Raises:
        ValueError: A library is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'vignette[{extra}]'") from error


@LoadedOnce
def packaged_network(package: str, file: str, sha256: str, extra: str) -> "onnxruntime.InferenceSession":
    """A network of an ONNX file in an installed package, on one thread of the CPU; loaded once per process.

    Args:
        package: The package; its own code is not run.
        file: The file's path inside it.
        sha256: Digest that the file must have.
        extra: The project's extra that installs package and runtime.

    Raises:
        ValueError: Package or runtime are not installed, or the file is another one, as other versions have it.
    """
    with needing(extra):
        import onnxruntime

    path = checked_path(package, file, sha256, extra)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def checked_path(package: str, file: str, sha256: str, extra: str) -> Path:
    """Where a file of an installed package lies, once its digest was found to be the expected one.

    Raises:
        ValueError: The package is not installed, or the file is another one.
    """
    path = packaged_path(package, file, extra)
    if (found := digest_file(path)) != sha256:
        raise ValueError(f"{path} must have sha256 {sha256}, got {found}: pip install 'vignette[{extra}]'")
    return path


def packaged_path(package: str, file: str, extra: str) -> Path:
    """Where a file of an installed package lies.

    Raises:
        ValueError: The package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise ValueError(f"{package} is not installed: pip install 'vignette[{extra}]'")
    path = Path(places[0], file)
    if not path.is_file():
        raise ValueError(f"{path} does not exist, other versions of {package} have it: pip install 'vignette[{extra}]'")
    return path
