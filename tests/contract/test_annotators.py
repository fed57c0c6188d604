"""What every annotator must do, for every module in the folder."""

import importlib
import pickle
from dataclasses import fields, replace
from pathlib import Path

import pyarrow
import pytest

from pipelines.annotators import NO_PIXELS, AnnotatorInput
from pipelines.shared.annotating import arrow_type
from pipelines.shared.loading import LoadedOnce
from pipelines.shared.params import plugin_names
from tests.pipelines.builders import captions, drawing

NAMES = plugin_names("pipelines.annotators")
NEEDS_FILES = {
    "aesthetic",
    "caption_perplexity",
    "clip_score",
    "frame_text_score",
    "match_score",
}  # their own tests write the files
FILE_SETTINGS = {
    "aesthetic": {"weights": "w.safetensors", "head": "h.pt"},
    "caption_perplexity": {"model": "m.arpa"},
    "clip_score": {"weights": "w.safetensors"},
    "frame_text_score": {"weights": "w.safetensors"},
}
QUICK = {"image_text": {"min_side_px": 64}}


@pytest.fixture(params=NAMES)
def module(request):
    return importlib.import_module(f"pipelines.annotators.{request.param}")


@pytest.fixture(params=[name for name in NAMES if name not in NEEDS_FILES])
def annotator(request):
    plugin = importlib.import_module(f"pipelines.annotators.{request.param}")
    return plugin.Annotator(plugin.Config(**QUICK.get(request.param, {})))


def inputs():
    texts = ["a red fox", "1234", "ünï çödé 🦊", "x" * 2000]
    return [
        AnnotatorInput(
            key=f"{i:020x}",
            media="video" if i % 2 else "image",
            image=drawing(i, 40 + i, 30),
            first_image=drawing(i + i % 2, 40 + i, 30),
            captions=captions(*texts[: i % 5]),
            facts={"width": 40 + i, "height": 30, "num_frames": 3 if i % 2 else 1, "duration_sec": 0.3 * (i % 2)},
            frames=tuple(drawing(i + j, 40 + i, 30) for j in range(3)) if i % 2 else (),
        )
        for i in range(6)
    ]


def test_module(module):
    assert module.__doc__ and module.Config.__doc__ and module.Annotator.__doc__
    assert module.Config.__dataclass_params__.frozen
    assert all(field.kw_only for field in fields(module.Config))


def test_columns_have_the_stated_types(annotator):
    samples = inputs()
    for row, sample in zip(annotator.annotate(samples), samples, strict=True):
        assert set(row) == set(annotator.columns)
        for name, kind in annotator.columns.items():
            found = pyarrow.array([row[name]], arrow_type(kind))
            assert found.null_count == 0
            if kind.startswith("list<"):
                assert len(row[name]) == len(sample.captions)


def test_a_sample_depends_on_itself_alone(annotator):
    samples = inputs()
    together = annotator.annotate(samples)
    assert together == [annotator.annotate([sample])[0] for sample in samples]
    assert together == annotator.annotate(samples[::-1])[::-1]


def test_who_says_that_it_reads_no_pixels_needs_none(annotator):
    """And whoever needs none says so, or a shard is decoded for nothing."""
    samples = inputs()
    blind = [replace(sample, image=NO_PIXELS, first_image=NO_PIXELS, frames=()) for sample in samples]
    if getattr(annotator, "reads_pixels", True):
        if not hasattr(annotator, "num_frames"):  # of a picture such a one need not look at anything
            with pytest.raises(Exception):  # noqa: B017
                annotator.annotate(blind)
    else:
        assert not hasattr(annotator, "num_frames")
        assert annotator.annotate(blind) == annotator.annotate(samples)


def test_settings_can_be_sent_to_a_worker(module):
    if module.__name__.rpartition(".")[2] in NEEDS_FILES:
        return
    config = module.Config()
    assert pickle.loads(pickle.dumps(config)) == config


def test_files_of_the_project_are_named(module, tmp_path, monkeypatch):
    """Workers that do not see the project's folder get what `files` names."""
    name = module.__name__.rpartition(".")[2]
    assert hasattr(module.Annotator, "files") == (name in NEEDS_FILES)
    if name not in FILE_SETTINGS:
        return
    monkeypatch.chdir(tmp_path)
    for file in FILE_SETTINGS[name].values():
        (tmp_path / file).touch()
    others = {"model": "ViT-B-32", "sha256": "0" * 64, "head_sha256": "0" * 64}
    known = {field.name for field in fields(module.Config)}
    settings = {key: value for key, value in others.items() if key in known} | FILE_SETTINGS[name]
    assert module.Annotator(module.Config(**settings)).files() == tuple(map(Path, FILE_SETTINGS[name].values()))


def test_columns_of_all_annotators_are_unique():
    names = []
    for name in NAMES:
        if name not in NEEDS_FILES:
            plugin = importlib.import_module(f"pipelines.annotators.{name}")
            names += list(plugin.Annotator(plugin.Config()).columns)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", NAMES)
def test_what_loads_a_model_says_so(name):
    """Whatever keeps a model for the life of the process can be told to load it before the first task."""
    plugin = importlib.import_module(f"pipelines.annotators.{name}")
    keeps_one = any(isinstance(value, LoadedOnce) for value in vars(plugin).values())
    assert hasattr(plugin.Annotator, "load") == keeps_one
