"""Whether what the nodes said of themselves was true, held against what the server and the harness know."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.audit import Term
from tests.chaos.nodes import Node, Sample
from tests.chaos.story import Story

HEALTHY, SICK, SILENT = 200, 503, 0


@dataclass(frozen=True)
class Truth:
    """What was so.

    Attributes:
        up: the server answers.
        calm: nothing else is done to the cluster that a node may rightly complain of.
        grace_s: how long a node may take to notice.
        deposed_s: how long a leader may take to notice that its session has ended and another leads by that. Whose
            lease has run out may say no more that it leads, not for a moment.
    """

    terms: Sequence[Term]
    up: Story
    calm: Story
    grace_s: float
    deposed_s: float

    def led_by(self, node_id: object, begin: float, end: float, taken_s: float = 0) -> bool:
        """Say whether this node had the lease at any moment between these two; one that was taken from it before it ran
        out counts for so long yet, but not longer than it would have lasted.
        """  # fmt: skip
        return any(
            term.leader_id == node_id
            and term.begun <= end
            and max(term.ended, min(term.lasted, term.ended + taken_s)) >= begin
            for term in self.terms
        )

    def one_led(self, begin: float, end: float) -> bool:
        """Say whether one node had the lease all the time between these two."""
        return any(term.begun <= begin and term.ended >= end for term in self.terms)


def untruths(samples: Iterable[Sample], node: Node, truth: Truth) -> list[str]:
    """Return every answer of a node that was not true, as one line each."""
    found: list[str] = []
    for sample in samples:
        if sample.status == SILENT:
            continue
        found += [f"{node.name} at {sample.sent:.2f}: {what} ({sample.body})" for what in _faults(sample, node, truth)]
    return found


def _faults(sample: Sample, node: Node, truth: Truth) -> Iterable[str]:
    since, end = sample.sent - truth.grace_s, sample.received
    if sample.status not in {HEALTHY, SICK} or not isinstance(sample.body, dict):
        yield f"an answer that is none, {sample.status}"
        return
    body = sample.body
    if body["is_leader"] and not truth.led_by(body["node_id"], sample.sent, end, truth.deposed_s):
        yield "it says that it leads, and the lease was not its"
    if sample.status == HEALTHY:
        yield from _too_good(body, node, truth, since, end)
    elif _all_well(node, truth, since, end):
        yield "it says that it is not well, and all was well"


def _too_good(body: dict[str, object], node: Node, truth: Truth, since: float, end: float) -> Iterable[str]:
    if truth.up.always(since, end, so=False) or node.linked.always(since, end, so=False):
        yield "it says that it is healthy, and could not have heard of the server"
    if not truth.led_by(body["leader_id"], since, end):
        yield "it names a leader that did not lead"


def _all_well(node: Node, truth: Truth, since: float, end: float) -> bool:
    return all(
        story.always(since, end, so=True) for story in (truth.up, truth.calm, node.linked, node.alive)
    ) and truth.one_led(since, end)
