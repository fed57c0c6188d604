from types import SimpleNamespace
from typing import Any

import torch

from pipelines.shared.auditing import audit_counts, plant
from pipelines.shared.judging import Judge
from pipelines.shared.recaption_settings import RecaptionEntry
from pipelines.shared.records import Caption, Sample
from tests.pipelines.builders import drawing, encoded


def sample(number: int, *texts: str, origin: str = "human", media: bytes | None = None) -> Sample:
    captions = tuple(Caption(text=text, origin=origin) for text in texts)
    picture = encoded(drawing(number)) if media is None else media
    return Sample(key=f"{number:020x}", extension="png", media=picture, captions=captions)


class Matcher:
    """Knows the truth, but believes a long text, and never a `shy` one."""

    image_px = 8

    def __init__(self, most: int = 1000) -> None:
        self.most, self.batches = most, []

    def match(self, image: Any, captions: list[str], owners: Any) -> Any:
        if len(image) > self.most:
            raise MemoryError
        self.batches.append(len(image))
        truth = {tuple(square(drawing(n))): f"number {n}" for n in range(12)}
        right = [truth[tuple(self.tones(image[owner]))] in text for text, owner in zip(captions, owners, strict=True)]
        scores = [0.9 * (ok or len(text) > 20) * ("shy" not in text) for ok, text in zip(right, captions, strict=True)]
        return torch.tensor(scores)

    @staticmethod
    def tones(image: Any) -> list[int]:
        return ((image + 1) * 127.5).round().int().flatten()[:12].tolist()


def run(matcher: Any) -> Any:
    return SimpleNamespace(model=matcher, device="cpu")


def square(picture: Any) -> list[int]:
    from pipelines.shared.judging import model_frames

    return Matcher.tones(model_frames([picture], run(Matcher()))[0])


def entry(**settings: Any) -> RecaptionEntry:
    return RecaptionEntry(pack="a", captioner="b", matcher="c", clip="d", **settings)


SAMPLES = [
    *(sample(n, f"number {n}") for n in range(6)),
    sample(6, "number 6 shy"),
    sample(7, "number 7, said at length"),
    sample(8, "number 8", origin="web"),
]


def test_each_sample_gets_its_own_and_anothers_caption() -> None:
    planted = plant(SAMPLES, 100, 0, "first")
    texts = {each.key: each.captions[0].text for each in SAMPLES}
    assert {each.sample.key for each in planted} == set(list(texts)[:8]), "those with a caption of a person"
    assert all(each.right == texts[each.sample.key] for each in planted)
    assert all(each.wrong in texts.values() and each.wrong != each.right for each in planted)
    assert "number 8" not in {each.wrong for each in planted}


def test_which_samples_does_not_depend_on_their_order_and_does_on_the_round() -> None:
    drawn = plant(SAMPLES, 3, 0, "first")
    assert len(drawn) == 3 and drawn == plant(SAMPLES[::-1], 3, 0, "first")
    assert len({tuple(each.sample.key for each in plant(SAMPLES, 3, 0, str(n))) for n in range(8)}) > 1


def test_an_equal_caption_is_not_a_wrong_one() -> None:
    same = [sample(n, "Number one") for n in range(3)]
    assert plant(same, 10, 0, "first") == []
    assert plant([*same, sample(5, "number ONE", "two")], 10, 0, "first") == []


def test_counts() -> None:
    planted = plant(SAMPLES, 100, 0, "first")
    judge = Judge(run(Matcher()), run(None))
    long_wrong = sum(len(each.wrong) > 20 for each in planted)
    expected = {"judged": 8, "right_accepted": 7, "wrong_accepted": long_wrong}
    assert audit_counts(judge, planted, entry()) == expected and long_wrong == 1
    assert audit_counts(judge, planted, entry(batch_size=3)) == expected
    assert audit_counts(judge, planted, entry(threshold=0.95)) == {**expected, "right_accepted": 0, "wrong_accepted": 0}
    assert audit_counts(judge, [], entry()) == {"judged": 0, "right_accepted": 0, "wrong_accepted": 0}


def test_what_cannot_be_judged_is_left_out() -> None:
    planted = plant([*SAMPLES, sample(9, "number 9", media=b"no picture")], 100, 0, "first")
    assert len(planted) == 9
    matcher = Matcher(most=2)
    assert audit_counts(Judge(run(matcher), run(None)), planted, entry())["judged"] == 8
    assert set(matcher.batches) == {2}
    assert audit_counts(Judge(run(Matcher(most=0)), run(None)), planted, entry())["judged"] == 0
