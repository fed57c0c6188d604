"""The command `vignette`: stages and other commands by name, each the same as `python -m pipelines.<name>`."""

import importlib.util
import runpy
import sys

STAGES = {
    "crawl": "fetch what a source points at into shards",
    "annotate": "compute scores and facts of a source's samples",
    "filter": "decide for every sample: kept, or the first reason why not; and its split",
    "pack": "write training shards from decisions, or from a pack and a recaption round",
    "train": "train a model on a pack",
    "recaption": "write captions for a pack and judge web and synthetic ones alike",
    "evaluate": "score a model on a pack's test split, or a reference row",
    "report": "write the leaderboard and the report page",
}
COMMANDS = {
    "demo": "run the whole pipeline, then show the top of the leaderboard",
    "repro": "run every stage that is not up to date, several at a time",
    "retrain": "the scheduled job: refresh, rebuild what changed, let gates decide, report",
    "promote": "put a challenger in the champion's place",
    "rollback": "put an older champion in use again",
    "scale": "switch params.yaml to another scale",
    "refresh": "note what the sources are now in sources.lock",
    "record": "append the present scores to the leaderboard's history",
    "frequencies": "freeze how common n-grams are in a pack's captions, for CIDEr-D",
    "replay": "compute a row of the leaderboard again and compare it to the last bit",
    "reproduced": "say whether the build came out as the one that is committed",
    "verify": "hash everything again and compare with the manifests",
    "export": "copy a finished folder to an object store, and compare",
    "explain": "tell one sample's life from URL to captions",
    "what-if": "what other thresholds of a filter would keep and reject",
    "doctor": "look for the traps that are known to bite such pipelines",
}


def main() -> None:
    """Run `vignette <name> [arguments]`."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in {"-h", "--help"}:
        sys.stdout.write(usage())
        return
    if name not in STAGES | COMMANDS:
        sys.exit(f"vignette: {name!r} is not a command; there are: {', '.join([*STAGES, *COMMANDS])}")
    module = f"pipelines.{name.replace('-', '_')}"
    assert importlib.util.find_spec(module), f"{module} is missing"
    sys.argv = [f"vignette {name}", *sys.argv[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=False)


def usage() -> str:
    """The text of `vignette --help`."""
    lines = ["usage: vignette <command> [arguments]", "", "stages, each for one instance of params.yaml:"]
    lines += [f"  {name:<11} {what}" for name, what in STAGES.items()]
    lines += ["", "other commands:", *(f"  {name:<11} {what}" for name, what in COMMANDS.items())]
    return "\n".join([*lines, "", "`vignette <command> --help` tells more.", ""])


if __name__ == "__main__":
    main()
