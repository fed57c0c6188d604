"""Range checks of settings, with one form of message."""

from collections.abc import Collection


def require(ok: bool, setting: str, given: object, allowed: str) -> None:
    """Refuses a setting.

    Raises:
        ValueError: `ok` is false. The message names the setting, what was given and what is allowed.
    """
    if not ok:
        raise ValueError(f"{setting} must be {allowed}, got {given!r}")


def require_one_of(setting: str, given: object, allowed: Collection[str]) -> None:
    """Refuses a name that is not among the allowed ones.

    Raises:
        ValueError: `given` is not in `allowed`.
    """
    require(given in allowed, setting, given, "one of " + ", ".join(sorted(allowed)))
