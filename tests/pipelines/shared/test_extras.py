import hashlib
import sys

import pytest

from pipelines.shared.extras import needing, packaged_network, packaged_path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a file that is no network, and code that must not run."""
    folder = tmp_path / "vignette_fixture"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('the code of a package of weights is run')")
    (folder / "net.onnx").write_bytes(b"rubbish")
    monkeypatch.syspath_prepend(tmp_path)
    return "vignette_fixture"


def test_a_missing_library_is_asked_for_by_the_extra():
    expected = r"nothing_of_this_name is not installed: pip install 'vignette\[ocr\]'"
    with pytest.raises(ValueError, match=expected), needing("ocr"):
        import nothing_of_this_name  # noqa: F401


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), needing("ocr"):
        _ = 1 / 0


def test_a_missing_package_is_asked_for_by_the_extra():
    with pytest.raises(ValueError, match=r"nothing_of_this_name is not installed: pip install 'vignette\[nsfw\]'"):
        packaged_path("nothing_of_this_name", "x.onnx", "nsfw")


def test_a_missing_file_names_the_package(package):
    with pytest.raises(ValueError, match=r"other.onnx does not exist, other versions of vignette_fixture have it"):
        packaged_path(package, "other.onnx", "nsfw")


def test_a_missing_runtime_is_asked_for(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"onnxruntime is not installed: pip install 'vignette\[nsfw\]'"):
        packaged_network(package, "net.onnx", "0" * 64, "nsfw")


def test_another_file_is_refused_before_it_is_read(package):
    found = hashlib.sha256(b"rubbish").hexdigest()
    with pytest.raises(ValueError, match=f"must have sha256 {'0' * 64}, got {found}"):
        packaged_network(package, "net.onnx", "0" * 64, "nsfw")
    with pytest.raises(Exception, match=r"(?i)protobuf"):
        packaged_network(package, "net.onnx", found, "nsfw")
