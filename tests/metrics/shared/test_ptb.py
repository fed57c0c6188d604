"""Words of captions against the answers of the real tool.

`ptb_fixtures.json` holds captions and the words that pycocoevalcap 1.2 makes of them: COCO-like sentences written for
it, texts of the embedded site, and hard cases. It was made once, with Java 17: the captions were written to a UTF-8
file, one a line, each followed by a line `x` (the tool looks into the next line, see
`test_differs_on_purpose`), and `java -Dfile.encoding=UTF-8 -cp stanford-corenlp-3.4.1.jar
edu.stanford.nlp.process.PTBTokenizer -preserveLines -lowerCase FILE` was run; from each line the tokens of
pycocoevalcap's list of punctuation were removed. `test_fixtures_are_what_the_tool_says` does this again, where there is
a Java.

Compared in the same way, and not kept: 44,714 lines of the documentation of software, of which 7 differed, and 20,000
strings of random contractions, numbers, symbols and punctuation, of whose 222,261 words 0.2% were not found.
"""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.shared.ptb import tokenize

FIXTURES = json.loads(Path(__file__).with_name("ptb_fixtures.json").read_text(encoding="utf-8"))
DIFFERENT = {  # caption: (our words, the tool's)
    "Call (555) 123-4567 now": ("call -lrb- 555 -rrb- 123-4567 now", "call -lrb-555-rrb- 123-4567 now"),
    "മലയാളം": ("മലയാളം", "മലയാള"),
    "a \U0001d4bd letter": ("a \U0001d4bd letter", "a letter"),
    "it&#39;s": ("it & # 39 s", "it &#39; s"),
    "cannot's": ("can not 's", "cannot 's"),
}
AFTER = "x"


@pytest.mark.parametrize("kind", FIXTURES)
def test_words_are_those_of_the_tool(kind: str) -> None:
    assert len(FIXTURES[kind]) >= 50
    for caption, words in FIXTURES[kind]:
        assert " ".join(tokenize(caption)) == words, caption


@pytest.mark.parametrize("caption", DIFFERENT)
def test_differs_on_purpose(caption: str) -> None:
    assert " ".join(tokenize(caption)) == DIFFERENT[caption][0]


def test_no_caption_depends_on_the_next() -> None:
    """The tool answers "letter g" where the next line begins with "A"; and a separator makes two captions of one."""
    assert tokenize("the letter G.") == ["the", "letter", "g."]
    for separator in "\n\r\v\f\x1c\x85\u2028\u2029":
        assert tokenize(f"a dog{separator}A cat") == ["a", "dog", "a", "cat"]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("I don't; it's can't.", ["i", "do", "n't", "it", "'s", "ca", "n't"]),
        ("(a) [b] {c}", ["-lrb-", "a", "-rrb-", "-lsb-", "b", "-rsb-", "-lcb-", "c", "-rcb-"]),
        ("A half-eaten, 3,000-foot cake!", ["a", "half-eaten", "3,000-foot", "cake"]),
        ("£5 or €5", ["#", "5", "or", "$", "5"]),
        ("so nice!!", ["so", "nice", "!!"]),
        ("\ud800 half of a pair", ["half", "of", "a", "pair"]),
        ("", []),
        ("... \"'!?", ["!?"]),
        ("...", []),
    ],
)
def test_closed_forms(caption: str, words: list[str]) -> None:
    assert tokenize(caption) == words


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    words = tokenize(text)
    assert all(words) and words == " ".join(words).split()
    assert not {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"} & set(words)
    assert tokenize(f" {text}\n") == words, "whitespace around a caption is nothing"


@given(st.lists(st.text(alphabet="abcdefgh", min_size=2), min_size=1))
def test_words_of_letters_are_kept(words: list[str]) -> None:
    assert tokenize(" ".join(words)) == words
    assert tokenize(", ".join(words).upper() + "!") == words


def of_the_tool(captions: list[str], folder: Path) -> list[str]:
    """pycocoevalcap's words of each caption, joined."""
    spec = importlib.util.find_spec("pycocoevalcap.tokenizer")
    assert spec is not None and spec.submodule_search_locations is not None
    jar = Path(next(iter(spec.submodule_search_locations)), "stanford-corenlp-3.4.1.jar")
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    lines = folder / "lines.txt"
    lines.write_text("".join(f"{caption}\n{AFTER}\n" for caption in captions), encoding="utf-8")
    options = ["-preserveLines", "-lowerCase", str(lines)]
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", *options]
    answer = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\n")
    kept = [[token for token in line.rstrip().split(" ") if token not in PUNCTUATIONS] for line in answer]
    assert len(kept) == 2 * len(captions) + 1
    return [" ".join(" ".join(tokens).split()) for tokens in kept[:-1:2]]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_fixtures_are_what_the_tool_says(tmp_path: Path) -> None:
    pairs = [pair for kind in FIXTURES.values() for pair in kind]
    pairs += [(caption, theirs) for caption, (_, theirs) in DIFFERENT.items()]
    assert of_the_tool([caption for caption, _ in pairs], tmp_path) == [words for _, words in pairs]
