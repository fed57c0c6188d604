import numpy as np
import pytest
from PIL import Image

from pipelines.annotators import AnnotatorInput
from pipelines.annotators.clip_motion import Annotator, Config, count_cuts
from tests.pipelines.builders import drawing


def annotate(frames, total: int | None = None, frames_per_sec: float = 10.0, **settings):
    total = total or len(frames)
    sample = AnnotatorInput(
        key="0" * 20,
        media="video",
        image=frames[0],
        first_image=frames[0],
        frames=tuple(frames),
        facts={"num_frames": total, "duration_sec": total / frames_per_sec},
    )
    return Annotator(Config(**settings)).annotate([sample])[0]


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (32, 24), (level, level, level))


def test_a_still_does_not_move():
    assert annotate([grey(90)] * 6) == {"frames_per_sec": pytest.approx(10.0), "motion": 0.0, "num_cuts": 0}


def test_motion_is_the_difference_over_the_step():
    """A fade by 4 levels a frame, 10 frames a second: 20 levels in half a second, 4 in a tenth."""
    frames = [grey(4 * index) for index in range(30)]
    assert annotate(frames)["motion"] == pytest.approx(20)
    assert annotate(frames, step_sec=0.1)["motion"] == pytest.approx(4)
    assert annotate(frames, step_sec=60)["motion"] == pytest.approx(4 * 29)


def test_motion_does_not_depend_on_the_frame_rate_or_on_how_many_frames_are_seen():
    slow = [grey(4 * index) for index in range(31)]
    fast = [grey(2 * index) for index in range(61)]
    expected = annotate(slow)["motion"]
    assert annotate(fast, frames_per_sec=20.0)["motion"] == pytest.approx(expected)
    assert annotate(slow[::2], total=31)["motion"] == pytest.approx(expected, rel=0.25)


def test_motion_of_a_moving_square():
    frames = []
    for index in range(8):
        pixels = np.zeros((64, 64, 3), dtype=np.uint8)
        pixels[:16, 8 * index : 8 * index + 8] = 255
        frames.append(Image.fromarray(pixels))
    share_changed = 2 * 16 * 8 / 64**2
    assert annotate(frames, step_sec=0.1)["motion"] == pytest.approx(255 * share_changed)


def test_cuts_between_scenes():
    scenes = [[drawing(seed, 48, 48)] * 5 for seed in (1, 2, 3)]
    assert annotate([frame for scene in scenes for frame in scene])["num_cuts"] == 2


def test_steady_motion_is_no_cut():
    noise = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)) for i in range(8)]
    assert annotate(noise)["num_cuts"] == 0
    assert annotate(noise, cut_ratio=1.0, cut_threshold=20.0)["num_cuts"] > 0


@pytest.mark.parametrize(
    "differences,expected",
    [
        ([], 0),
        ([40.0], 1),
        ([20.0], 0),
        ([1, 1, 40, 1, 1], 1),
        ([40, 1, 1, 1, 40], 2),
        ([20, 20, 40, 20, 20], 0),
        ([0, 0, 40, 40, 0, 0], 2),
    ],
)
def test_which_differences_are_cuts(differences, expected):
    assert count_cuts(np.array(differences, dtype=float), 27.0, 3.0) == expected


def test_large_frames_are_reduced():
    rng = np.random.default_rng(0)
    grain = [Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)) for _ in range(4)]
    assert annotate(grain)["motion"] < annotate(grain, max_side_px=256)["motion"] / 3


def test_a_picture_has_none_of_it():
    image = drawing(0)
    sample = AnnotatorInput(key="0" * 20, media="image", image=image, first_image=image, facts={"num_frames": 1})
    assert Annotator(Config()).annotate([sample]) == [{"frames_per_sec": 0.0, "motion": 0.0, "num_cuts": 0}]


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"num_frames": 10}, "num_frames must be one of 3, 5, 9, 17, 33, 65, 129, 257, got 10"),
        ({"step_sec": 0.0}, "step_sec must be above 0, got 0.0"),
        ({"cut_threshold": 0.0}, r"cut_threshold must be in \(0, 255\], got 0.0"),
        ({"cut_ratio": 0.5}, "cut_ratio must be at least 1, got 0.5"),
        ({"max_side_px": 4}, "max_side_px must be at least 8, got 4"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
