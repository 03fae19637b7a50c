"""What a deployment of a cluster will do, before it does it."""

from typing import Literal

from pydantic import Field

from client_manager.models.base import Model
from client_manager.models.cluster import ClusterName, ClusterSpec, HealthFinding
from client_manager.models.sync import LeaseTimes

Severity = Literal["ok", "warning", "critical"]
StepAction = Literal["create", "change", "replace", "start", "move", "remove", "unchanged"]


class Check(HealthFinding):
    """One thing that was looked at before a deployment; a critical one stands in its way.

    Attributes:
        name: of what was looked at, in a word or two.
    """

    name: str


class PlanStep(Model):
    """One thing that is made, changed, or found to be as it should be."""

    subject: str
    action: StepAction
    what: str = ""


class ClusterRequest(Model):
    """What an operator asks of a deployment; what is None stays as it is, or is the default of a new cluster.

    Attributes:
        take_over: that the cluster's former machine is lost, and its clients are this machine's from now on.
    """

    name: ClusterName
    times: LeaseTimes | None = None
    workers: int | None = Field(default=None, ge=1, le=64)
    heavy_workers: int | None = Field(default=None, ge=1, le=64)
    memory_bytes: int | None = Field(default=None, ge=128 * 1024**2)
    take_over: bool = False


class DeployPlan(Model):
    """A deployment: what was looked at, what the cluster shall be, and what has to be done for that.

    Attributes:
        spec: with a host id of zeros where the machine has no row yet; None where a check kept it from being drafted.
    """

    request: ClusterRequest
    spec: ClusterSpec | None
    checks: tuple[Check, ...]
    steps: tuple[PlanStep, ...]

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.request.name

    @property
    def blockers(self) -> tuple[Check, ...]:
        """The checks that stand in the way."""
        return tuple(check for check in self.checks if check.severity == "critical")

    @property
    def changes(self) -> tuple[PlanStep, ...]:
        """The steps that do something; none: there is nothing to do."""
        return tuple(step for step in self.steps if step.action != "unchanged")
