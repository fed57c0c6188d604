"""Stage `train@<model>`: train one entry of `models` or `stacked` on a pack.

Reads `data/pack/<pack>` and, for a stacked model, `runs/<base>`; writes `runs/<model>`: `model.safetensors`,
`config.json` (the entry point, written last), `history.csv`, `README.md`. Besides, `dvclive/<model>` for `dvc plots
show`, and `timings/<model>.json`.

    python -m pipelines.train clip-web
    torchrun --nproc_per_node 2 -m pipelines.train clip-web

With `training: {steps: 0}` a model becomes a run as it begins, such as a published checkpoint that its settings name.
A run that was interrupted or killed goes on from its resume file when the same command is given again.
"""

from contextlib import ExitStack
from pathlib import Path

from pipelines.shared.devices import choose_device, make_deterministic
from pipelines.shared.stage import StageRun, main


def run(stage_run: StageRun) -> None:
    """Train one model."""
    from pipelines.shared.training.distributed import joined
    from pipelines.shared.training.loop import fit
    from pipelines.shared.training.prepare import Inputs, build_job
    from pipelines.shared.training.publish import publish
    from pipelines.shared.training.settings import read_plan

    plan = read_plan(stage_run.params, stage_run.key)
    inputs = Inputs.read(plan, stage_run.seed)
    device = choose_device(plan.entry.training.device, f"train {stage_run.key}")
    make_deterministic(device, stage_run.num_threads)
    with joined(device) as world, ExitStack() as stack:
        scratch = ""
        if world.is_first:
            scratch = str(stack.enter_context(stage_run.scratch(*inputs.identity(world))))
        job = build_job(inputs, world, Path(world.from_first(scratch)))
        state = fit(job)
        if world.is_first:
            publish(inputs, job, state, stage_run.key)


if __name__ == "__main__":
    main("train", run, "Train a model on a pack.", beam=False)
