"""Which evaluations may stand in one table: those of one metric on equal samples, by one protocol."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metrics.shared.protocol import Value
from pipelines.shared.comparing import Scored
from pipelines.shared.files import digest_json


@dataclass(frozen=True, kw_only=True)
class Comparable:
    """Evaluations whose values of a metric can be subtracted from each other.

    Attributes:
        metric: The key of the metric.
        protocol: What they share.
        models: Evaluations of models.
        references: Reference rows.
    """

    metric: str
    protocol: Mapping[str, Value]
    models: tuple[Scored, ...]
    references: tuple[Scored, ...]

    @property
    def members(self) -> tuple[Scored, ...]:
        """All of them."""
        return (*self.models, *self.references)

    @property
    def scores(self) -> tuple[str, ...]:
        """What the metric gives, in its order."""
        return tuple(dict.fromkeys(score for each in self.members for score in scores_of(each, self.metric)))

    @property
    def sha256(self) -> str:
        """Digest of the protocol."""
        return digest_json(dict(self.protocol))


def comparable(scored: Iterable[Scored]) -> list[Comparable]:
    """All groups of comparable evaluations: by metric, of one metric the group with most models first."""
    groups: dict[tuple[str, str], list[Scored]] = {}
    protocols: dict[tuple[str, str], Mapping[str, Value]] = {}
    for each in sorted(scored, key=lambda each: each.key):
        for metric, scores in each.document["groups"].items():
            protocol = each.protocol(scores[0])
            group = metric, digest_json(protocol)
            groups.setdefault(group, []).append(each)
            protocols[group] = protocol
    found = [
        Comparable(
            metric=metric,
            protocol=protocols[metric, digest],
            models=tuple(each for each in members if not each.document["reference"]),
            references=tuple(each for each in members if each.document["reference"]),
        )
        for (metric, digest), members in groups.items()
    ]
    return sorted(found, key=lambda group: (group.metric, -len(group.models), group.sha256))


def scores_of(scored: Scored, metric: str) -> tuple[str, ...]:
    """The scores that a metric gave an evaluation."""
    return tuple(scored.document["groups"].get(metric, ()))
