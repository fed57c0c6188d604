"""Whether a build came out as a published one: every stage, every score, and what differs in the machines.

Stages are compared by the digests of their outputs. Where these differ, the entries of the two locks say why: other
settings, sources, code or inputs; a difference further up, from which this one follows; or nothing of the kind. Then
a stage in which a network computes may have rounded differently on another processor, while of any other it is a fault:
bytes of data depend on inputs and settings alone. What the clock decides (`timings/`) is not compared, and of the pages
it is not asked why, because they say when and on what machine the scores were recorded.
"""

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.shared.agreeing import BEYOND, INSIDE, OTHER_PROTOCOL, Agreement, agreements, count
from pipelines.shared.builds import Build, NothingPublishedError, outputs, present_build, published_build
from pipelines.shared.differing_outputs import differing_outputs
from pipelines.shared.machine import Difference, machine_differences, machine_facts
from pipelines.shared.params import plugin
from pipelines.shared.recording import read_comparison, write_comparison
from pipelines.shared.stage import TIMINGS

HEAD = "HEAD"
EQUAL, DIFFERENT, NOT_BUILT, ONLY_PUBLISHED, ONLY_HERE = (
    *("equal", "different", "not built"),
    *("only published", "only here"),
)
STAGE_OUTCOMES = (EQUAL, DIFFERENT, NOT_BUILT, ONLY_PUBLISHED, ONLY_HERE)
CHANGED, FAULT, NETWORK, FOLLOWS, PAGES = "changed", "fault", "rounding", "follows", "pages"
CAUSES = (FAULT, CHANGED, NETWORK, FOLLOWS, PAGES)
OF_NETWORKS = ("train", "stack", "recaption", "evaluate", "reference")
OF_PAGES = "report"
OF_THE_COMMIT = ("line", "revision", "day")
MOVED = (BEYOND, INSIDE, OTHER_PROTOCOL)
MAX_KEPT = 20
CODE = ("pipelines", "models", "metrics")
SOURCES_LOCK = "sources.lock"
REPRODUCED, SO_FAR, NOT_REPRODUCED, OTHER_BUILD, NOTHING = (
    *("Reproduced", "Reproduced as far as it is built", "Not reproduced"),
    *("Another build, of other settings, sources or code", "Nothing is built"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage of two builds.

    Attributes:
        name: Its name, with its instance.
        outcome: One of `STAGE_OUTCOMES`.
        cause: Of a different one, one of `CAUSES`.
        changed: What is other of its settings, sources, code and inputs.
        follows: Stages it directly needs that are not equal.
        outs: Outputs that differ, each with its files where DVC's cache still knows them.
    """

    name: str
    outcome: str
    cause: str = ""
    changed: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()

    @property
    def is_first(self) -> bool:
        """Whether it is different, and nothing that it needs is."""
        return self.outcome == DIFFERENT and not self.follows


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two builds.

    Attributes:
        revision: Commit of the published one.
        day: Its day.
        stages: Of both, in the order of the published lock.
        scores: Of both.
        machines: For each machine on which the published scores were recorded, where this one differs; none where the
            records do not say.
        here: Facts of this machine.
    """

    revision: str
    day: str
    stages: Sequence[Stage]
    scores: Sequence[Agreement]
    machines: Sequence[Sequence[Difference]]
    here: Mapping[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> list[Stage]:
        """Different stages behind which no other one stands, but for the pages."""
        return [stage for stage in self.stages if stage.is_first and stage.cause != PAGES]

    @property
    def verdict(self) -> str:
        """Whether it was reproduced, in a word or two."""
        judged = [stage for stage in self.stages if stage.cause != PAGES]
        if all(stage.outcome in (NOT_BUILT, ONLY_PUBLISHED) for stage in judged):
            return NOTHING
        if any(stage.cause == FAULT for stage in judged):
            return NOT_REPRODUCED
        if any(stage.cause == CHANGED or stage.outcome in (ONLY_PUBLISHED, ONLY_HERE) for stage in judged):
            return OTHER_BUILD
        if any(score.outcome == BEYOND for score in self.scores):
            return NOT_REPRODUCED
        return SO_FAR if any(stage.outcome == NOT_BUILT for stage in judged) else REPRODUCED


def compare(published: Build, *, without: str = "", changed: Collection[str] = ()) -> Comparison:
    """Compare the build in the working tree with a published one.

    Args:
        published: Of `published_build`.
        without: A stage that is left out.
        changed: Stages whose outputs are known not to be as `dvc.lock` says.

    Raises:
        ValueError: The one in the working tree cannot be read.
    """
    here = present_build()
    missing = here.missing.union(changed)
    stages = [stage for stage in compare_stages(published, here, missing) if stage.name != without]
    facts = machine_facts()
    return Comparison(
        revision=published.revision,
        day=published.day,
        stages=stages,
        scores=compare_scores(published, here, missing),
        machines=[machine_differences(there, facts) for there in published.machines],
        here=facts,
    )


def keep_comparison(scores: Path) -> bool:
    """Keep for the report how the present build, without its pages, compares with the one at HEAD.

    What was kept stays as it is where it already says the same of another commit, and where git has no build: a file in
    git changes only where there is something else to say.

    Returns:
        Whether it was written.

    Raises:
        ValueError: One of the builds, or what was kept, cannot be read.
    """
    try:
        found = compare(published_build(HEAD), without=OF_PAGES)
    except NothingPublishedError:
        return False
    document = kept(found)
    known = read_comparison(scores) or {}
    if all(known.get(name) == document[name] for name in document.keys() - set(OF_THE_COMMIT)):
        return False
    write_comparison(scores, document)
    return True


def kept(found: Comparison) -> dict[str, Any]:
    """What the report shows of a comparison, as JSON has it; of scores that moved those that moved furthest."""
    moved = [score for score in found.scores if score.outcome in MOVED]
    moved.sort(key=lambda score: (MOVED.index(score.outcome), -score.share, score.row))
    document = {
        "line": verdict_line(found),
        "revision": found.revision,
        "day": found.day,
        "stages": {
            outcome: [stage.name for stage in found.stages if stage.outcome == outcome] for outcome in STAGE_OUTCOMES
        },
        "different": [dataclasses.asdict(stage) for stage in found.stages if stage.outcome == DIFFERENT],
        "scores": count(found.scores),
        "moved": [dataclasses.asdict(score) for score in moved[:MAX_KEPT]],
        "num_moved": len(moved),
        "machines": [[dataclasses.asdict(each) for each in differences] for differences in found.machines],
        "here": found.here,
    }
    return dict(json.loads(json.dumps(document)))


def outcome_line() -> str:
    """How the present build compares with the one at HEAD, in a line; why it cannot be said where it cannot."""
    try:
        return verdict_line(compare(published_build(HEAD)))
    except ValueError as error:
        return f"Not compared with a published build: {error}."


def compare_stages(published: Build, here: Build, missing: Collection[str]) -> list[Stage]:
    """All stages of either build."""
    names = list(dict.fromkeys([*published.stages, *sorted(here.stages)]))
    outcomes = {name: _outcome(name, published, here, name in missing) for name in names}
    makers = {name: outputs(here.stages.get(name) or published.stages[name]) for name in names}
    found = []
    for name in names:
        if outcomes[name] != DIFFERENT:
            found.append(Stage(name=name, outcome=outcomes[name]))
            continue
        one, other = published.stages[name], here.stages[name]
        needed = [path for path in _changed_deps(one, other) if _makers(path, makers)]
        follows = {maker for path in needed for maker in _makers(path, makers) if outcomes[maker] != EQUAL}
        changed = (*_changed_settings(one, other), *_changed_files(one, other, makers, outcomes))
        cause = _cause(name, other, changed, follows)
        outs = tuple(differing_outputs(_compared(one), _compared(other)))
        found.append(
            Stage(
                name=name,
                outcome=DIFFERENT,
                cause=cause,
                changed=changed,
                follows=tuple(name for name in names if name in follows),
                outs=outs,
            )
        )
    return found


def compare_scores(published: Build, here: Build, missing: Collection[str]) -> list[Agreement]:
    """All scores of either build; those of stages that are not built are left out."""
    names = dict.fromkeys([*published.scores, *sorted(here.scores)])
    built = [name for name in names if name in here.stages and name not in missing]
    return [each for name in built for each in agreements(published.scores.get(name), here.scores.get(name))]


def is_of_network(name: str, stage: Mapping[str, Any]) -> bool:
    """Whether a network computes in a stage, so that it may round differently on another processor."""
    group = name.partition("@")[0]
    if group in OF_NETWORKS:
        return True
    entries = stage.get("params", {}).get("params.yaml", {}).get("annotators") or {} if group == "annotate" else {}
    modules = (plugin("pipelines.annotators", each["module"], "annotators") for each in entries.values())
    return any(hasattr(module.Annotator, "load") for module in modules)


def verdict_line(found: Comparison) -> str:
    """The whole in a line."""
    stages = [stage.outcome for stage in found.stages]
    causes = [stage.cause for stage in found.stages if stage.outcome == DIFFERENT]
    why = ", ".join(f"{causes.count(cause)} {cause}" for cause in CAUSES if cause in causes)
    parts = [f"{stages.count(EQUAL)} of {len(stages)} stages equal"]
    parts += [f"{len(causes)} differ ({why})"] * bool(causes)
    parts += [f"{stages.count(each)} {each}" for each in STAGE_OUTCOMES[2:] if each in stages]
    scores = ", ".join(f"{number} {outcome}" for outcome, number in count(found.scores).items() if number)
    more = f"; {len(found.scores)} scores: {scores}" if scores else ""
    return f"{found.verdict} (against {found.revision[:7]}): {', '.join(parts)}{more}."


def _outcome(name: str, published: Build, here: Build, is_missing: bool) -> str:
    if not here.names(name):
        return ONLY_PUBLISHED
    if name not in here.stages or is_missing:
        return NOT_BUILT
    if name not in published.stages:
        return ONLY_HERE
    return EQUAL if _compared(published.stages[name]) == _compared(here.stages[name]) else DIFFERENT


def _compared(stage: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Outputs by path: digest, size, number of files; without what the clock decides."""
    kept = (out for out in stage.get("outs", ()) if not out["path"].startswith(f"{TIMINGS}/"))
    return {out["path"]: {name: out[name] for name in ("md5", "size", "nfiles") if name in out} for out in kept}


def _cause(name: str, stage: Mapping[str, Any], changed: Sequence[str], follows: set[str]) -> str:
    if name.partition("@")[0] == OF_PAGES:
        return PAGES
    if changed:
        return CHANGED
    if follows:
        return FOLLOWS
    return NETWORK if is_of_network(name, stage) else FAULT


def _changed_deps(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    first, second = ({dep["path"]: dep["md5"] for dep in stage.get("deps", ())} for stage in (one, other))
    return [path for path in dict.fromkeys([*first, *second]) if first.get(path) != second.get(path)]


def _makers(path: str, makers: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Stages that make a path, a part of it, or what it is a part of."""
    return [name for name, outs in makers.items() if any(_overlap(path, out) for out in outs)]


def _overlap(first: str, second: str) -> bool:
    return first == second or first.startswith(f"{second}/") or second.startswith(f"{first}/")


def _changed_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Settings that differ, and the entries of `sources.lock`."""
    first, second = (stage.get("params", {}) for stage in (one, other))
    commands = [f"command: {other['cmd']}"] if one["cmd"] != other["cmd"] else []
    found = [
        f"{'sources' if file == SOURCES_LOCK else 'settings'}: {name}"
        for file in dict.fromkeys([*first, *second])
        for name in _changed_keys(first.get(file) or {}, second.get(file) or {})
    ]
    return commands + found


def _changed_keys(one: Any, other: Any, above: str = "") -> list[str]:
    """Dotted names of what differs between two nested settings."""
    if one == other:
        return []
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return [above]
    keys = dict.fromkeys([*one, *other])
    return [
        name for key in keys for name in _changed_keys(one.get(key), other.get(key), f"{above}.{key}".removeprefix("."))
    ]


def _changed_files(
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    makers: Mapping[str, Mapping[str, str]],
    outcomes: Mapping[str, str],
) -> list[str]:
    """Code and inputs that differ and that no stage of another outcome explains."""
    found = []
    for path in _changed_deps(one, other):
        behind = _makers(path, makers)
        if not any(outcomes[name] != EQUAL for name in behind):
            is_code = path.endswith(".py") or (path.partition("/")[0] in CODE and not path.endswith(".json"))
            found.append(f"{'code' if is_code else 'inputs'}: {path}")
    return found
