"""Statistics of captions."""

from pipelines.shared.reporting.texts import LENGTHS, length_names, text_statistics


def test_by_origin() -> None:
    captions = [("a cat", "web"), ("a cat", "web"), ("one two three four", "web"), ("Katze", "human"), (" ", "human")]
    human, web = text_statistics("site", captions)
    assert (web.place, web.origin, web.num_texts, web.num_distinct, web.max_words) == ("site", "web", 3, 2, 4)
    assert web.mean_words == 8 / 3
    assert web.percentiles[1] == 2
    assert web.histogram == (0, 2, 0, 1, 0, 0, 0, 0, 0)
    assert human.histogram[0] == 2, "blanks alone are among the shortest"


def test_every_length_has_one_class() -> None:
    for words in range(1, 60):
        (found,) = text_statistics("", [(" ".join(["w"] * words), "web")])
        assert sum(found.histogram) == 1
        low, high = LENGTHS[found.histogram.index(1)]
        assert low <= words <= (high or words)
    assert length_names() == ["1", "2", "3", "4-5", "6-8", "9-12", "13-20", "21-40", "41+"]


def test_no_captions() -> None:
    assert text_statistics("site", []) == []
