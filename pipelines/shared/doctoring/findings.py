"""Findings: what is wrong, where, why it bites, what to do; every kind of trap has a code that stays the same."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass

from pipelines.shared.params import suggestion

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
CODES: dict[str, tuple[str, str]] = {
    "D01": (ERROR, "dvc.yaml cannot be read or resolved"),
    "D02": (ERROR, "an output is kept between runs"),
    "D03": (WARNING, "a stage has no cached output"),
    "D04": (WARNING, "a stage always counts as changed"),
    "D05": (ERROR, "outputs of two stages overlap"),
    "D06": (NOTE, "a metrics or plots file is cached"),
    "D07": (WARNING, "a stage depends on nothing"),
    "D08": (WARNING, "there are too many stages"),
    "D09": (ERROR, "a key has characters that templates or commands misread"),
    "D10": (ERROR, "a command or path is bound to a machine or a moment"),
    "D11": (ERROR, "a dependency does not exist and no stage makes it"),
    "D20": (ERROR, "a stage imports code that it does not declare"),
    "D21": (WARNING, "a stage imports a package whose code in __init__.py it does not declare"),
    "D22": (ERROR, "a command runs a module that does not exist"),
    "D23": (ERROR, "a stage loads plug-ins by name that it does not declare"),
    "D24": (WARNING, "a template uses a setting that the stage does not track"),
    "D30": (ERROR, "what is installed is not what setup.py asks for"),
    "D31": (ERROR, "torch and torchvision do not fit together"),
    "D32": (WARNING, "scipy.linalg.sqrtm changed under a tool that uses it"),
    "D33": (NOTE, "torchmetrics' CLIPScore fails with this transformers"),
    "D34": (ERROR, "webdataset is too old"),
    "D35": (WARNING, "setup.py asks for open_clip's extra `training`"),
    "D36": (ERROR, "the Beam runner is one that loses records or downloads"),
    "D37": (NOTE, "installed versions are not those of constraints.txt"),
    "D40": (ERROR, "dvc.lock is cut off or damaged"),
    "D41": (NOTE, "there is no dvc.lock"),
    "D42": (WARNING, "dvc.lock names dependencies that no longer exist"),
    "D43": (NOTE, "dvc.lock has stages that dvc.yaml does not have"),
    "D44": (ERROR, "a file is tracked by git and by DVC"),
    "D45": (WARNING, "a large output is in git"),
    "D46": (WARNING, "an output is kept by neither DVC nor git"),
    "D47": (NOTE, "an output that git is to keep is not in git yet"),
    "D48": (WARNING, "an output in DVC's cache is not ignored by git"),
    "D49": (WARNING, "the default remote does not exist"),
    "D50": (ERROR, "a page loads something from the network"),
    "D60": (WARNING, "the disk has little room"),
    "D61": (ERROR, "DVC's list of busy files is damaged"),
    "D62": (NOTE, "DVC's list of busy files names processes that died"),
    "D63": (NOTE, "unfinished work is left"),
    "D64": (WARNING, "git changes line ends"),
    "D65": (NOTE, "git hooks may change files"),
    "D70": (ERROR, "a stage reads a file that it does not declare"),
    "D71": (ERROR, "a stage reads a setting that it does not track"),
    "D72": (ERROR, "a stage writes outside its outputs"),
    "D73": (NOTE, "not everything that a stage reads was seen"),
    "D80": (ERROR, "an output differs between two runs from the same inputs"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: Its kind, a key of `CODES`.
        place: `file:line`, a file, or a stage.
        message: What is there, and why it bites.
        remedy: What to do.
    """

    code: str
    place: str
    message: str
    remedy: str

    def __post_init__(self) -> None:
        assert self.code in CODES, f"{self.code} is not a code"

    @property
    def severity(self) -> str:
        """`error`, `warning` or `note`."""
        return CODES[self.code][0]

    def line(self) -> str:
        """The finding in one line."""
        return " ".join(
            f"{self.severity:<7} {self.code}  {self.place}: {self.message}. Remedy: {self.remedy}".split("\n")
        )


def ordered(findings: Iterable[Finding], ignored: Collection[str] = ()) -> list[Finding]:
    """Each finding once, errors first, then by code; those with an ignored code left out.

    Raises:
        ValueError: An ignored code does not exist.
    """
    for code in ignored:
        if code not in CODES:
            raise ValueError(f"--ignore: there is no code {code}{suggestion(code, CODES)}; `--codes` lists them")
    kept = dict.fromkeys(finding for finding in findings if finding.code not in ignored)
    return sorted(kept, key=lambda finding: (SEVERITIES.index(finding.severity), finding.code))


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each finding and one that counts them."""
    counts = [sum(finding.severity == severity for finding in findings) for severity in SEVERITIES]
    total = ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in zip(counts, SEVERITIES, strict=True))
    return "\n".join([*(finding.line() for finding in findings), total, ""])


def as_json(findings: Sequence[Finding]) -> str:
    """A JSON list of the findings."""
    rows = [{"severity": finding.severity, **asdict(finding)} for finding in findings]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def codes_text() -> str:
    """All codes with their severity and meaning."""
    return "".join(f"{code}  {severity:<7}  {meaning}\n" for code, (severity, meaning) in CODES.items())
