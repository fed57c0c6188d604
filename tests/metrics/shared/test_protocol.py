import pytest

from metrics.shared.protocol import check_comparable, differences

PROTOCOL = {"metric": "fid", "resize": "clean-299px", "num_generated": 128, "seed": 0}


def test_equal_protocols() -> None:
    assert differences(PROTOCOL, dict(reversed(PROTOCOL.items()))) == ()
    check_comparable(PROTOCOL, dict(PROTOCOL), names=("a", "b"))


@pytest.mark.parametrize(("field", "value"), [("resize", "torch-299px"), ("num_generated", 127), ("seed", 1)])
def test_the_field_is_named_with_both_values(field: str, value: str | int) -> None:
    with pytest.raises(
        ValueError, match=rf"a and b cannot be compared: {field} is .* of the one, .* of the other"
    ) as e:
        check_comparable(PROTOCOL, PROTOCOL | {field: value}, names=("a", "b"))
    assert repr(PROTOCOL[field]) in str(e.value) and repr(value) in str(e.value)


def test_a_field_that_one_side_lacks() -> None:
    one = PROTOCOL | {"judge_sha256": "0"}
    assert differences(one, PROTOCOL) == differences(PROTOCOL, one) == ("judge_sha256",)
    with pytest.raises(ValueError, match="judge_sha256 is nothing of the one, '0' of the other"):
        check_comparable(PROTOCOL, one, names=("a", "b"))


def test_the_first_of_several() -> None:
    other = PROTOCOL | {"seed": 1, "metric": "kid"}
    assert differences(PROTOCOL, other) == ("metric", "seed")
    with pytest.raises(ValueError, match="metric is 'fid'"):
        check_comparable(PROTOCOL, other, names=("a", "b"))
