import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from safetensors.numpy import save

from pipelines.shared.doctoring.differing import first_difference


def tar(*members, **fields):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def parquet(columns, **options):
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


A, B, C = ("a.txt", b"1"), ("b.txt", b"2"), ("c.txt", b"3")
TENSORS = {"a": np.zeros(2, np.float32), "b": np.ones((2, 1))}
CASES = [
    ("x.tar", tar(A, B), tar(A, ("b.txt", b"3")), "member b.txt: its content"),
    ("x.tar", tar(A, B), tar(A, ("b.txt", b"33")), "member b.txt: size is 1 and 2"),
    ("x.tar", tar(A, B), tar(B, A), "member 0 is a.txt in one and b.txt in the other"),
    ("x.tar", tar(A, B), tar(A), "member 1 is b.txt in one and nothing in the other"),
    ("x.tar", tar(A, mtime=1), tar(A, mtime=2), "member a.txt: mtime is 1 and 2"),
    ("x.tar", tar(A, uname="me"), tar(A, uname="you"), "member a.txt: uname is me and you"),
    ("x.tar", tar(A), tar(A) + b"x", "byte 10240"),
    ("x.parquet", parquet({"a": [1, 2], "b": [3, 4]}), parquet({"a": [1, 2], "b": [3, 5]}), "column b, row 1"),
    ("x.parquet", parquet({"a": [1]}), parquet({"a": [1, 2]}), "1 and 2 rows"),
    ("x.parquet", parquet({"a": [1]}), parquet({"b": [1]}), "columns are a and b"),
    ("x.parquet", parquet({"a": [1]}), parquet({"a": ["1"]}), "column a: its type is int64 and string"),
    ("x.parquet", parquet({"a": [float("nan"), 1.0]}), parquet({"a": [float("nan"), 2.0]}), "column a, row 1"),
    ("x.parquet", parquet({"a": [1]}), parquet({"a": [1]}, compression="none"), "byte "),
    ("x.safetensors", save(TENSORS), save(TENSORS | {"b": np.zeros((2, 1))}), "tensor b"),
    ("x.safetensors", save(TENSORS), save({"a": TENSORS["a"]}), "tensor b is in one of them only"),
    ("x.safetensors", save(TENSORS, {"at": "1"}), save(TENSORS, {"at": "2"}), "key metadata.at: '1' and '2'"),
    ("x.json", b'{"a": [1, {"b": 2}]}', b'{"a": [1, {"b": 3}]}', "key a[1].b: 2 and 3"),
    ("x.json", b'{"a": 1}', b'{"b": 1}', "key a is in one of them only"),
    ("x.json", b"[1]", b"[1, 2]", "key : 1 and 2 items"),
    ("x.json", b'{"a": 1}', b'{"a":  1}', "line 1"),
    ("x.json", b'{"a": NaN}', b'{"a": NaN}\n', "line 1"),
    ("x.csv", b"a\nb\nc\n", b"a\nb\nd\n", "line 3"),
    ("x.bin", b"\0\1\2", b"\0\1\3", "byte 2"),
    ("x.json", b'{"a"', b'{"b"', "not a whole .json file (JSONDecodeError), line 1"),
    ("x.tar", b"no tar", b"none", "not a whole .tar file (ReadError), line 1"),
]


@pytest.mark.parametrize(("name", "one", "two", "expected"), CASES, ids=[case[3] for case in CASES])
def test_the_first_difference(tmp_path, name, one, two, expected):
    for folder, content in (("one", one), ("two", two)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
    assert first_difference(tmp_path / "one" / name, tmp_path / "two" / name).startswith(expected)


def test_equal_files(tmp_path):
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_text(json.dumps({"a": 1}))
    assert first_difference(tmp_path / "one.json", tmp_path / "two.json") == ""
