"""The table of evidence and the capabilities that it names."""

import re

from metrics.shared import evidence
from models import CAPABILITIES


def test_every_name_is_documented_with_a_shape():
    documented = re.findall(r"^\| `(\w+)` \| (?:[^|]*\[[^|]+\]|[nm] texts) \|", evidence.__doc__, flags=re.MULTILINE)
    assert documented == list(evidence.NEEDS)


def test_capabilities_exist():
    assert frozenset().union(*evidence.NEEDS.values()) <= set(CAPABILITIES)
