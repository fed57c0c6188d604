"""A challenger takes the champion's place: its files, a commit, two tags; each step only where it is not done yet."""

from dataclasses import dataclass
from typing import Any

from pipelines.shared.champions import CHAMPIONS, Champion, dvc_file, utc_day, write_champion
from pipelines.shared.folders import replace_folder
from pipelines.shared.gate_files import GATES, gate_digest, read_gate_file
from pipelines.shared.gate_scoring import Contest, read_contest
from pipelines.shared.gating import PROMOTE
from pipelines.shared.manifests import manifest_digest
from pipelines.shared.params import load_params
from pipelines.shared.programs import commit, find_dvc, require_git, require_nothing_staged, said
from pipelines.shared.registry import assign, assigned, next_version, register, versions
from pipelines.shared.stage import STATE


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to promote.

    Attributes:
        reason: Why, against the gate; empty where the gate must say `promote`.
        refreeze: Whether the present test split becomes the frozen test set.
        push: Whether DVC's remote gets the champion.
        dry_run: Whether only to tell.
    """

    reason: str = ""
    refreeze: bool = False
    push: bool = False
    dry_run: bool = False


def promote(gate: str, options: Options) -> list[str]:
    """Promote the present challenger of a gate, or finish it.

    Returns:
        What was done, or would be.

    Raises:
        ValueError: The gate does not say `promote`, or commits and tags cannot be made here.
    """
    require_git()
    paths = [dvc_file(gate).as_posix(), (CHAMPIONS / ".gitignore").as_posix(), (GATES / gate).as_posix()]
    require_nothing_staged(paths)
    if not options.dry_run and dvc_file(gate).exists() and not (CHAMPIONS / gate).exists():
        said(find_dvc(), "checkout", "--quiet", str(dvc_file(gate)))
    contest = read_contest(load_params(), gate)
    champion = contest.champion
    if champion is None or not contest.is_champion or is_stale(contest, options):
        check(contest, options)
        champion = None
    if options.dry_run and champion:
        return [f"{champion.run} ({champion.model_sha256[:12]}) is {gate} {champion.version} already"]
    if options.dry_run:
        return [f"would promote {contest.evaluation.model} ({contest.challenger[:12]}) as {planned(contest, options)}"]
    champion = champion or build(contest, options)
    said(find_dvc(), "add", "--quiet", str(CHAMPIONS / gate))
    if options.push:
        said(find_dvc(), "push", "--quiet", str(dvc_file(gate)))
    commit(paths, f"Promote {champion.run} to {gate} {champion.version}\n\n{champion.document['forced']}".strip())
    made = tag(gate, champion)
    lines = [f"{champion.run} ({champion.model_sha256[:12]}) is {gate} {champion.version}"]
    return [*lines, f"tagged {', '.join(made)}; `git push --follow-tags` publishes commit and tags"] if made else lines


def is_stale(contest: Contest, options: Options) -> bool:
    """Whether the test set is to be frozen anew and has changed."""
    assert contest.champion, "there is no champion"
    return options.refreeze and manifest_digest(contest.pack) != contest.champion.document["test"]["pack_sha256"]


def check(contest: Contest, options: Options) -> None:
    """Raise ValueError if the gate, asked last about this very run, does not promote it."""
    last, gate = read_gate_file(contest.gate), contest.gate
    if last is None or last["challenger"]["model_sha256"] != contest.challenger:
        subject = "nothing yet" if last is None else "another run than the present one"
        raise ValueError(f"{gate} has decided on {subject}: run `vignette retrain --no-refresh`")
    if options.reason:
        return
    if last["verdict"] != PROMOTE:
        raise ValueError(
            f"{gate} says {last['verdict']}: {'; '.join(last['reasons'])}. --force --reason TEXT promotes all the same"
        )
    known = versions(gate)
    earlier = [each.name for each in known.values() if each.facts.get("model_sha256") == contest.challenger]
    if earlier and not contest.is_champion:
        old = earlier[-1]
        raise ValueError(
            f"this run was {gate} {old} and is not in use any more: `vignette rollback {gate} --to {old}` brings it "
            "back, --force --reason TEXT promotes it as a new version"
        )


def planned(contest: Contest, options: Options) -> str:
    """The version that the challenger becomes."""
    return next_version(versions(contest.gate), new_test_set=contest.champion is None or options.refreeze)


def build(contest: Contest, options: Options) -> Champion:
    """Put the new champion together, and in its place."""
    last = read_gate_file(contest.gate)
    assert last, "checked before"
    facts = {
        "gate": contest.gate,
        "version": planned(contest, options),
        "promoted": utc_day(),
        "evaluation": contest.entry.evaluation,
        "verdict": last["verdict"],
        "gate_sha256": gate_digest(contest.gate),
        "forced": options.reason,
    }
    new = STATE / "promote" / contest.gate
    kept = None if options.refreeze else contest.champion
    champion = write_champion(new, contest.evaluation.model, contest.pack, kept, facts)
    replace_folder(new, CHAMPIONS / contest.gate)
    return Champion(folder=CHAMPIONS / contest.gate, document=champion.document, sha256=champion.sha256)


def tag(gate: str, champion: Champion) -> list[str]:
    """Register the version and put it in use, where that is not done yet; the names of the tags that were made."""
    names = ("run", "model_sha256", "gate_sha256", "verdict", "forced")
    facts: dict[str, Any] = {name: champion.document[name] for name in names}
    made = []
    if champion.version not in versions(gate):
        revision = said("git", "log", "-1", "--format=%H", "--", str(dvc_file(gate))).strip()
        made.append(register(gate, champion.version, revision, facts))
    if assigned(gate, versions(gate))[-1:] != [champion.version]:
        made.append(assign(gate, champion.version, facts))
    return made
