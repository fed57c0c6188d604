"""Runs the stage `train` with the fake plug-ins beside the real ones: `run_stage.py KEY ...`, also under torchrun."""

import runpy
import sys
from pathlib import Path

import torch

import models

models.__path__.append(str(Path(__file__).parent / "plugins"))
torch.set_num_threads(1)
for key in sys.argv[1:]:
    sys.argv = ["train", key]
    runpy.run_module("pipelines.train", run_name="__main__", alter_sys=False)
