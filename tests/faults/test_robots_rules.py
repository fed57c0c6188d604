"""Rules of robots.txt as RFC 9309, 2.2 has them: the longest match counts, `Allow` where two are equally long."""

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.pipelines.shared.robots_answers import allowed

PATHS = st.text("ab/.", max_size=8).map(lambda text: f"/{text}").filter(lambda path: "/." not in path)
PATTERNS = st.builds(
    lambda text, end: f"/{text}{end}",
    st.text("ab/.*", max_size=6).filter(lambda each: "**" not in each),
    st.sampled_from(["", "$"]),
)
RULES = st.lists(st.tuples(st.sampled_from(["Allow", "Disallow"]), PATTERNS), max_size=6)

GROUP = RULES.filter(bool)  # an agent without a rule shares those of the next one


def expected(rules: list[tuple[str, str]], path: str) -> bool:
    matching = []
    for kind, pattern in rules:
        body = ".*".join(map(re.escape, pattern.removesuffix("$").split("*")))
        if re.match(body + ("$" if pattern.endswith("$") else ""), path):
            matching.append((len(pattern), kind == "Allow"))
    return max(matching)[1] if matching else True


def written(agent: str, rules: list[tuple[str, str]]) -> str:
    return "\n".join([f"User-agent: {agent}", *(f"{kind}: {pattern}" for kind, pattern in rules), ""])


@settings(max_examples=200, deadline=None)
@given(RULES, PATHS)
@example([("Disallow", "/a"), ("Allow", "/a")], "/a")
@example([("Allow", "/a"), ("Disallow", "/*b$")], "/ab")
def test_the_longest_match_counts(rules: list[tuple[str, str]], path: str) -> None:
    assert allowed(written("*", rules).encode(), path) is expected(rules, path)


@settings(max_examples=100, deadline=None)
@given(GROUP, GROUP, GROUP, PATHS, st.permutations([0, 1, 2]), st.sampled_from(["\n", "\r\n", "\r"]))
def test_our_own_group_counts_alone_wherever_it_stands(
    own: list[tuple[str, str]],
    everybody: list[tuple[str, str]],
    others: list[tuple[str, str]],
    path: str,
    order: list[int],
    newline: str,
) -> None:
    groups = [written("vignette", own), written("*", everybody), written("otherbot", others)]
    body = "\n".join(groups[index] for index in order).replace("\n", newline)
    assert allowed(body.encode(), path) is expected(own, path)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=400)
    | st.text(max_size=300).map(lambda text: f"User-agent: *\n{text}".encode("utf-8", "replace"))
)
def test_any_bytes_are_rules_or_none(body: bytes) -> None:
    assert allowed(body, "/a.png") in (True, False)
