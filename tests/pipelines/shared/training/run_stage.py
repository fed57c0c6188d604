"""Runs the stage `train` with the fake plug-ins beside the real ones: `run_stage.py KEY`, also under torchrun."""

import runpy
from pathlib import Path

import torch

import models

models.__path__.append(str(Path(__file__).parent / "plugins"))
torch.set_num_threads(1)
runpy.run_module("pipelines.train", run_name="__main__", alter_sys=False)
