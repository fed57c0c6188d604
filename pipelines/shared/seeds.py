"""Seeds for every random choice, by sha256 from (seed, stage, key): never from a rank, a clock or global state."""

import hashlib


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on nothing but its arguments.

    Args:
        seed: The run's seed, from `params.yaml`.
        *parts: What tells this choice from all others, from coarse to fine: stage, instance, key, step.

    Returns:
        An integer in [0, 2**63).

    >>> derive_seed(0, "pack", "a1") == derive_seed(0, "pack", "a1")
    True
    """
    text = "\x00".join([str(seed), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def unit_interval(seed: int, *parts: str | int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    return derive_seed(seed, *parts) / 2**63
