"""What two values must share to be compared, and the error that says where they do not.

A protocol is a flat mapping: how a value was computed (estimator, detector with the digest of its weights, resize rule,
counts, seed) and what from (digests of samples, of a judge). Values of different protocols have no difference: those
tools that subtract them anyway publish changes of the resize filter as progress.
"""

from collections.abc import Mapping

Value = str | int | float


def differences(first: Mapping[str, Value], second: Mapping[str, Value]) -> tuple[str, ...]:
    """The fields in which two protocols differ, sorted; a field that one of them lacks is one of these."""
    return tuple(sorted(field for field in {*first, *second} if first.get(field) != second.get(field)))


def check_comparable(first: Mapping[str, Value], second: Mapping[str, Value], *, names: tuple[str, str]) -> None:
    """Refuses two values that cannot be compared.

    Args:
        first: Protocol of one value.
        second: Protocol of the other.
        names: What the two are called in the message.

    Raises:
        ValueError: They differ; names the first field that does, both values, and both sides.
    """
    for field in differences(first, second):
        one, other = (repr(each[field]) if field in each else "nothing" for each in (first, second))
        raise ValueError(
            f"{names[0]} and {names[1]} cannot be compared: {field} is {one} of the one, {other} of the other"
        )
