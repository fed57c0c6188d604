import numpy as np
import pytest
import skimage.data
from PIL import Image

from pipelines.annotators import AnnotatorInput, nsfw
from pipelines.annotators.nsfw import CLASSES, Annotator, Config, candidates, distinct_boxes, overlap
from tests.pipelines.builders import drawing


def annotate(*images: Image.Image, **settings):
    samples = [
        AnnotatorInput(key=f"{i:020x}", media="image", image=image, first_image=image) for i, image in enumerate(images)
    ]
    return Annotator(Config(**settings)).annotate(samples)


@pytest.fixture(scope="module")
def astronaut():
    return Image.fromarray(skimage.data.astronaut())


def test_the_face_of_a_photograph(astronaut):
    found = annotate(astronaut)[0]
    assert found["num_faces"] == 1 and found["nsfw_score"] < 0.1
    assert 0.02 < found["face_frac"] < 0.12


def test_faces_side_by_side_are_counted(astronaut):
    pair = Image.new("RGB", (1024, 512))
    pair.paste(astronaut, (0, 0))
    pair.paste(astronaut, (512, 0))
    assert annotate(pair)[0]["num_faces"] == 2


def test_a_clip_has_the_highest_of_its_frames(astronaut):
    blank = Image.new("RGB", astronaut.size)
    clip = AnnotatorInput(key="0" * 20, media="video", image=blank, first_image=blank, frames=(blank, astronaut, blank))
    assert Annotator(Config()).annotate([clip]) == annotate(astronaut)


def test_no_face_in_a_cat_and_a_drawing():
    assert [row["num_faces"] for row in annotate(Image.fromarray(skimage.data.chelsea()), drawing(0))] == [0, 0]


def test_detections_are_those_of_the_package(astronaut):
    """At the network's size neither resizes. Given an array, the package takes it for RGB, as we do."""
    from nudenet import NudeDetector

    image = astronaut.resize((320, 240), Image.Resampling.LANCZOS)
    expected = [each for each in NudeDetector().detect(np.asarray(image)) if "FACE" in each["class"]]
    found = candidates(image)
    faces = found[np.isin(found[:, 4:].argmax(axis=1), [CLASSES.index(name) for name in nsfw.FACES])]
    best = faces[faces[:, 4:].max(axis=1).argmax()]
    assert len(expected) == 1
    assert best[4:].max() == pytest.approx(expected[0]["score"], abs=2e-3)
    left, top, width, height = expected[0]["box"]
    assert best[:4] * (320, 240, 320, 240) == pytest.approx([left, top, left + width, top + height], abs=1.5)


def test_scores_of_the_chosen_classes(monkeypatch):
    """Made-up candidates: the best class alone counts, and of faces what overlaps is one."""
    made = np.zeros((5, 4 + len(CLASSES)))
    made[:, :4] = [[0, 0, 0.5, 0.5], [0.01, 0, 0.5, 0.5], [0.6, 0.6, 0.8, 0.7], [0, 0, 1, 1], [0, 0, 1, 1]]
    for row, name, score in (
        (0, "FACE_MALE", 0.9),
        (1, "FACE_FEMALE", 0.8),
        (2, "FACE_FEMALE", 0.3),
        (3, "ANUS_EXPOSED", 0.4),
        (4, "BELLY_EXPOSED", 0.7),
    ):
        made[row, 4 + CLASSES.index(name)] = score
    made[4, 4 + CLASSES.index("ANUS_EXPOSED")] = 0.6
    monkeypatch.setattr(nsfw, "candidates", lambda image: made)
    assert annotate(drawing(0))[0] == {"nsfw_score": 0.4, "num_faces": 2, "face_frac": 0.27}
    assert annotate(drawing(0), classes=("BELLY_EXPOSED",), face_threshold=0.5)[0] == {
        "nsfw_score": 0.7,
        "num_faces": 1,
        "face_frac": 0.25,
    }


def test_overlap_and_distinct_boxes_by_counting_cells():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 12, (40, 2))
    found = np.concatenate(
        [corners, corners + rng.integers(3, 8, (40, 2)), rng.permuted(np.arange(1.0, 41))[:, None]], 1
    )
    cells = np.zeros((40, 20, 20), dtype=bool)
    for cell, (left, top, right, bottom) in zip(cells, found[:, :4].astype(int), strict=True):
        cell[top:bottom, left:right] = True
    shared = np.array([[(a & b).sum() / (a | b).sum() for b in cells] for a in cells])
    assert overlap(found[0, :4], found[:, :4]) == pytest.approx(shared[0])
    kept: list[int] = []
    for row in np.argsort(-found[:, 4]):
        if all(shared[row, other] <= nsfw.MAX_OVERLAP for other in kept):
            kept.append(row)
    assert np.array_equal(distinct_boxes(found), found[kept, :4]) and 5 < len(kept) < 40


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"classes": ()}, "classes must be some of .*, got none"),
        ({"classes": ("NUDE",)}, "classes must be some of .*, got NUDE"),
        ({"face_threshold": 1.5}, r"face_threshold must be in \[0, 1\], got 1.5"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
