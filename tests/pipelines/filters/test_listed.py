import numpy as np
import pytest

from pipelines.filters.listed import Config, Filter
from pipelines.shared.files import digest_file


def keep(rows, **settings):
    return Filter(Config(column="c", **settings)).keep({"c": rows}).tolist()


def test_texts_and_missing_ones():
    rows = np.array(["a", "b", None, "c", "a"], dtype=object)
    assert keep(rows, values=("a", "c")) == [True, False, False, True, True]
    assert keep(rows, values=("a", "c"), keep="others") == [False, True, True, False, False]


def test_whole_numbers_also_where_some_are_missing():
    assert keep(np.array([3, 5, 30]), values=(3, 7)) == [True, False, False]
    assert keep(np.array([3.0, np.nan, 0.0]), values=(3, 0)) == [True, False, True]
    assert keep(np.array([3.0, np.nan, 0.0]), values=(3, 0), keep="others") == [False, True, False]
    with pytest.raises(ValueError, match="column c holds fractions"):
        keep(np.array([0.5]), values=(1,))


def test_lines_of_a_file(tmp_path):
    path = tmp_path / "clusters.txt"
    path.write_text("12\n\n 7 \n")
    assert keep(np.array([7, 12, 1, 127]), file=str(path), sha256=digest_file(path)) == [True, True, False, False]
    with pytest.raises(ValueError, match=r"clusters.txt has sha256 [0-9a-f]{64}, the settings say 00"):
        keep(np.array([7]), file=str(path), sha256="00")
    with pytest.raises(ValueError, match=r"none\.txt does not exist"):
        keep(np.array([7]), file=str(tmp_path / "none.txt"), sha256="00")


def test_the_reason_says_which():
    assert Filter(Config(column="media", values=("video",))).reason == "unlisted_media"
    assert Filter(Config(column="caption_origin", scope="caption", values=("web",), keep="others")).reason == (
        "listed_caption_origin"
    )


@pytest.mark.parametrize(
    "settings,message",
    [
        ({}, "either values or file"),
        ({"values": ("a",), "file": "b", "sha256": "c"}, "either values or file"),
        ({"file": "b"}, "belong together"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(column="c", **settings)
