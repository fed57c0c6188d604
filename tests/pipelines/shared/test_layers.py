"""Layers: equal bytes for equal rows, checked before they are read."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from pipelines.shared.layers import CAPTION_TYPE, KEY_FIELD, layer_schema, read_layer, write_layer
from pipelines.shared.records import Caption
from pipelines.shared.shards import FileInfo, describe

SCHEMA = layer_schema({"width": pyarrow.int32(), "captions": pyarrow.list_(CAPTION_TYPE)})
CAPTION = Caption(text="ä", origin="web", place="alt", scores={"clip": 0.5, "match": 1.0})
ROWS = [
    {"key": f"{number:020x}", "width": number, "captions": [CAPTION.as_dict()] * (number % 3)} for number in range(50)
]


def written(folder: Path, rows: list[dict] = ROWS) -> FileInfo:
    path = folder / "00000.parquet"
    return describe(path, folder, write_layer(path, rows, SCHEMA))


def test_there_and_back(tmp_path: Path) -> None:
    table = read_layer(tmp_path, written(tmp_path))
    assert table.schema.equals(SCHEMA) and table.schema.names[0] == "key" and not KEY_FIELD.nullable
    rows = table.to_pylist()
    assert [row["width"] for row in rows] == list(range(50))
    assert dict(rows[2]["captions"][0]["scores"]) == CAPTION.scores and rows[2]["captions"][0]["text"] == "ä"


def test_some_columns(tmp_path: Path) -> None:
    assert read_layer(tmp_path, written(tmp_path), ["key"]).schema.names == ["key"]


def test_bytes_depend_on_rows_alone(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    turned = [dict(reversed(row.items())) for row in ROWS]
    assert written(tmp_path).sha256 == written(tmp_path / "b", turned).sha256


def test_missing_columns_are_null_and_no_rows_are_fine(tmp_path: Path) -> None:
    table = read_layer(tmp_path, written(tmp_path, [{"key": "a"}]))
    assert table.to_pylist() == [{"key": "a", "width": None, "captions": None}]
    assert read_layer(tmp_path, written(tmp_path, [])).num_rows == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"key": "a", "widht": 1}], r"columns \['widht'\] are not in the layer's schema"),
        ([{"key": "b"}, {"key": "a"}], "keys of a layer must increase"),
        ([{"key": "a"}, {"key": "a"}], "keys of a layer must increase"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, rows: list[dict], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_layer(tmp_path / "00000.parquet", rows, SCHEMA)
    assert list(tmp_path.iterdir()) == []


def test_wrong_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises((pyarrow.ArrowException, TypeError)):
        write_layer(tmp_path / "00000.parquet", [{"key": "a", "width": "wide"}], SCHEMA)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_noticed(tmp_path: Path) -> None:
    info = written(tmp_path)
    path = tmp_path / "00000.parquet"
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not the file that its manifest lists"):
            read_layer(tmp_path, info)
    for place in range(0, len(whole), 31):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="is not the file that its manifest lists"):
            read_layer(tmp_path, info)


def test_number_of_rows_is_checked(tmp_path: Path) -> None:
    info = written(tmp_path)
    wrong = describe(tmp_path / info.name, tmp_path, 49)
    with pytest.raises(ValueError, match="has 50 rows, its manifest lists 49"):
        read_layer(tmp_path, wrong)
