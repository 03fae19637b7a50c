"""What an operator asks for: a new client, or changes to one."""

from pydantic import model_validator

from client_manager.docker_names import ImageReference
from client_manager.models.base import Model
from client_manager.models.client import Assignment
from client_manager.models.environment import FROM_DOMAIN, SECRET_KEY
from client_manager.models.names import ClientName, Cpus, Domain, MemoryBytes, NewPort, VariableName


class CreateRequest(Model):
    """A new client; None means: what the settings say, or what an earlier client of this name left behind."""

    name: ClientName
    domain: Domain
    port: NewPort | None = None
    image: ImageReference | None = None
    env: tuple[Assignment, ...] = ()
    memory_bytes: MemoryBytes | None = None
    cpus: Cpus | None = None

    @model_validator(mode="after")
    def _domain_decides(self) -> "CreateRequest":
        refuse_domain_variables(self.env)
        return self


class ChangeRequest(Model):
    """Changes to a client; None and empty mean: leave it."""

    env: tuple[Assignment, ...] = ()
    unset: tuple[VariableName, ...] = ()
    memory_bytes: MemoryBytes | None = None
    cpus: Cpus | None = None
    image: ImageReference | None = None
    port: NewPort | None = None

    @model_validator(mode="after")
    def _nothing_vital(self) -> "ChangeRequest":
        refuse_domain_variables(self.env)
        touched = {*self.unset, *(assignment.name for assignment in self.env)}
        if SECRET_KEY in touched:
            raise ValueError(f"{SECRET_KEY} is never changed: every session and stored token hangs on it")
        vital = sorted(FROM_DOMAIN.intersection(self.unset))
        if vital:
            raise ValueError(f"{', '.join(vital)} follows the domain; use 'client set-domain'")
        both = sorted({assignment.name for assignment in self.env}.intersection(self.unset))
        if both:
            raise ValueError(f"{', '.join(both)} is both set and unset")
        return self


def refuse_domain_variables(assignments: tuple[Assignment, ...]) -> None:
    """Refuse to set by hand what follows from the domain.

    Raises:
        ValueError: naming the variables.
    """
    touched = sorted(FROM_DOMAIN.intersection(assignment.name for assignment in assignments))
    if touched:
        raise ValueError(f"{', '.join(touched)} follows the domain; use 'client set-domain'")
