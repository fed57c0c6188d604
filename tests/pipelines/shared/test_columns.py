import numpy as np
import pyarrow
import pytest

from pipelines.shared.columns import ColumnNames, index_lists, judged_rows, read_columns
from pipelines.shared.layers import CAPTION_TYPE


def caption(text):
    return {"text": text, "origin": "web", "place": "alt", "model_sha256": "", "scores": []}


def tables():
    facts = pyarrow.table(
        {
            "key": ["a", "b", "c", "d"],
            "status": ["success", "failed", "success", "success"],
            "reason": ["", "deadline", "", ""],
            "captions": pyarrow.array(
                [[caption("x"), caption("y")], [], [caption("lost")], [caption("z")]], pyarrow.list_(CAPTION_TYPE)
            ),
            "width": pyarrow.array([10, None, 30, 40], pyarrow.int32()),
        }
    )
    annotations = pyarrow.table(
        {
            "key": ["a", "c", "d"],
            "annotate_error": ["", "decode_error", ""],
            "caption_words": pyarrow.array([[1, 2], None, [3]], pyarrow.list_(pyarrow.int32())),
            "entropy_bits": pyarrow.array([1.0, None, None], pyarrow.float64()),
        }
    )
    return facts, annotations


def test_only_what_decoded_is_judged():
    facts, annotations = judged_rows(*tables())
    assert facts["key"].to_pylist() == annotations["key"].to_pylist() == ["a", "d"]


def test_layers_of_another_crawl_are_refused():
    facts, annotations = tables()
    with pytest.raises(ValueError, match="annotate the source again"):
        judged_rows(facts, annotations.slice(1))


def test_columns_are_aligned():
    columns = read_columns(*judged_rows(*tables()), ("width", "entropy_bits", "caption_words", "caption_text"))
    assert columns.num_captions.tolist() == [2, 1]
    assert columns.owners.tolist() == [0, 0, 1]
    assert columns.of("sample")["width"].tolist() == [10, 40]
    assert columns.sample["entropy_bits"][0] == 1.0 and np.isnan(columns.sample["entropy_bits"][1])
    assert columns.of("caption")["caption_words"].tolist() == [1, 2, 3]
    assert columns.caption["caption_text"].tolist() == ["x", "y", "z"]


NAMES = ColumnNames.of(tables()[0].schema, tables()[1].schema)


def test_names_by_scope():
    assert NAMES.sample == {"key", "status", "reason", "width", "annotate_error", "entropy_bits"}
    assert NAMES.caption == {"caption_words", "caption_text", "caption_origin", "caption_place"}


@pytest.mark.parametrize(
    "name,scope,message",
    [
        (
            "widht",
            "sample",
            r"no column 'widht' \(did you mean width\?\); per sample there are: annotate_error, entropy",
        ),
        ("width", "caption", "the column 'width' has a value per sample, the rule's scope is caption"),
        ("caption_words", "sample", "has a value per caption, the rule's scope is sample"),
    ],
)
def test_wrong_names_are_explained(name, scope, message):
    with pytest.raises(ValueError, match=message):
        NAMES.check([name], scope, "filters.base.rules.x")


def test_index_lists():
    chosen = np.array([True, False, True, False, False, True])
    assert index_lists(chosen, [3, 0, 2, 1]).to_pylist() == [[0, 2], [], [], [0]]
    assert index_lists(np.zeros(0, dtype=bool), []).to_pylist() == []
