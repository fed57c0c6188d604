import gzip
import itertools
import math
from collections import Counter

import pytest

from pipelines.annotators import NO_PIXELS, AnnotatorInput
from pipelines.annotators.caption_perplexity import Annotator, Config, load_model, words_of
from pipelines.shared.files import digest_file
from tests.pipelines.builders import captions

BY_HAND = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.3
-0.6\t</s>
-0.5\tred\t-0.2
-0.7\tfox

\\2-grams:
-0.1\t<s> red
-0.4\tred fox
-0.2\tfox </s>

\\end\\
"""


def write(tmp_path, content: str, name: str = "model.arpa") -> dict[str, str]:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return {"model": str(path), "sha256": digest_file(path)}


def annotate(settings, *texts: str):
    sample = AnnotatorInput(
        key="0" * 20, media="image", image=NO_PIXELS, first_image=NO_PIXELS, captions=captions(*texts)
    )
    return Annotator(Config(**settings)).annotate([sample])[0]["caption_perplexity"]


@pytest.mark.parametrize(
    "text,log10s",
    [
        ("Red fox", [-0.1, -0.4, -0.2]),  # all bigrams are there
        ("fox", [-0.3 - 0.7, -0.2]),  # <s> backs off
        ("red red", [-0.1, -0.2 - 0.5, -0.2 - 0.6]),
        ("blue, fox!", [-0.3 - 1.0, -0.7, -0.2]),  # <unk> has no back-off weight
        ("", [-0.3 - 0.6]),
    ],
)
@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
def test_by_hand(tmp_path, text, log10s, name):
    expected = 10 ** (-sum(log10s) / len(log10s))
    assert annotate(write(tmp_path, BY_HAND, name), text) == [pytest.approx(expected)]


def trigrams_with_discount(sentences: list[str]) -> str:
    """An ARPA file of a back-off trigram model with absolute discounting, whose probabilities add up to 1."""
    texts = [["<s>", *sentence.split(), "</s>"] for sentence in sentences]
    counts = [Counter(tuple(t[i : i + n]) for t in texts for i in range(len(t) - n + 1)) for n in (1, 2, 3)]
    vocabulary = [*sorted({word for text in texts for word in text} - {"<s>"}), "<unk>"]
    total = sum(count for (word,), count in counts[0].items() if word != "<s>") + 1
    probability = {(word,): (counts[0][(word,)] or 1) / total for word in vocabulary}
    weight: dict[tuple[str, ...], float] = {}

    def of(word, context):
        if (*context, word) in probability:
            return probability[(*context, word)]
        return weight.get(context, 1.0) * of(word, context[1:])

    for n in (2, 3):
        for context in sorted({gram[:-1] for gram in counts[n - 1]}):
            seen = {gram[-1]: count for gram, count in counts[n - 1].items() if gram[:-1] == context}
            mass = sum(seen.values())
            for word, count in seen.items():
                probability[(*context, word)] = (count - 0.5) / mass
            unseen = 1 - sum(of(word, context[1:]) for word in seen)
            weight[context] = 0.5 * len(seen) / mass / unseen
    lines = ["\\data\\"]
    for n in (1, 2, 3):
        grams = {gram: math.log10(value) for gram, value in probability.items() if len(gram) == n}
        grams |= {("<s>",): -99.0} if n == 1 else {}
        lines += [f"\\{n}-grams:"]
        for gram, value in sorted(grams.items()):
            lines.append(f"{value:.9f}\t{' '.join(gram)}\t{math.log10(weight.get(gram, 1.0)):.9f}")
    return "\n".join([*lines, "", "\\end\\", ""])


SENTENCES = ["a red fox", "a red car", "a dog in the snow", "the red fox in the snow", "a fox"]


def test_probabilities_after_any_words_add_up_to_one(tmp_path):
    settings = write(tmp_path, trigrams_with_discount(SENTENCES))
    model = load_model(settings["model"], settings["sha256"])
    words = [word for (word,) in (gram for gram in model.ngrams if len(gram) == 1) if word != "<s>"]
    assert model.order == 3
    for history in itertools.product(["<s>", "red", "fox", "snow", "<unk>"], repeat=2):
        assert sum(10 ** model.log10_probability(word, history) for word in words) == pytest.approx(1, abs=1e-6)


def test_what_is_like_the_models_texts_is_less_perplexing(tmp_path):
    settings = write(tmp_path, trigrams_with_discount(SENTENCES))
    usual, shuffled, strange = annotate(settings, "the red fox", "fox the red", "IMG 2041 final v2")
    assert 1 < usual < shuffled < strange


def test_words():
    assert words_of("Don't - stop: 3 well-known Füchse!") == ["don't", "stop", "3", "well-known", "füchse"]
    assert words_of("काला कुत्ता, İs cafe\u0301") == ["काला", "कुत्ता", "is", "cafe\u0301"]


@pytest.mark.parametrize(
    "content,message",
    [
        (BY_HAND.replace("\\end\\", ""), r"is not an ARPA file: it ends without \\end\\"),
        (BY_HAND.replace("-0.4\tred fox", "-0.4\tred"), "is not an ARPA file: line 14 is no 2-gram"),
        (BY_HAND.replace("-0.4\tred fox", "0.4\tred fox"), "is not an ARPA file: line 14 is no 2-gram"),
        (BY_HAND.replace("-0.4\tred fox", "much\tred fox"), "is not an ARPA file: could not convert"),
        (BY_HAND.replace("<unk>", "unk"), "lacks <unk>"),
        ("", "is not an ARPA file: it ends without"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        annotate(write(tmp_path, content), "a")


def test_damage_and_another_digest_are_refused(tmp_path):
    settings = write(tmp_path, BY_HAND)
    with pytest.raises(ValueError, match="the settings say 0000"):
        annotate({**settings, "sha256": "0" * 64}, "a")
    path = tmp_path / "cut.arpa.gz"
    path.write_bytes(gzip.compress(BY_HAND.encode())[:-20])
    with pytest.raises(ValueError, match="is not an ARPA file"):
        annotate({"model": str(path), "sha256": digest_file(path)}, "a")


@pytest.mark.parametrize(
    "change,message",
    [
        ({"model": "x.bin"}, "model must be a .arpa or .arpa.gz file, got x.bin"),
        ({"sha256": "1"}, "64 lower-case hex digits"),
        ({"column": "A"}, "column must match"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**{"model": "x.arpa", "sha256": "0" * 64, **change})


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"model: nowhere\.arpa does not exist"):
        Annotator(Config(model="nowhere.arpa", sha256="0" * 64))
