"""The clients of this machine as the leader knows them: when each is due, and whether there is anything to do."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from client_manager.gateways.database import Database
from client_manager.models.replication import RunResult
from client_manager.models.work import ClientWork, HostClient, Outcome
from client_manager.node.crew import Run
from client_manager.node.identity import Identity
from client_manager.node.leadership import Clock
from client_manager.node.runner import Ended, Runner
from client_manager.node.schedule import Draw, Lane, Schedule

VERIFY_EVERY_S: Final = 86_400.0
_PATIENCE_S: Final = 3600.0  # so long a verification waits for an idle moment, and those overdue are spread over it
_SHORTEST_INTERVAL_S: Final = 1
_JUST_NOW_S: Final = 10.0  # longer than a change takes to be seen; who has been due for longer is so by its own grid


@dataclass
class Member:
    """One client.

    Attributes:
        row: as ``sync_metadata`` last had it.
        busy: whether a run of it waits or is under way.
        began_at: when that run was put in line, monotonic seconds.
        is_outdated: whether the row is older than what such a run leaves.
        is_called: whether somebody has made the client due since then.
        is_trusted: whether an unchanged source means that there is nothing to do; None: to be found out.
        needs_load: whether its next run loads or compares everything.
        verify_at: when it is to be verified, monotonic seconds.
        synced_at: when its replica was last known to be what its source is.
        problem: why its last run failed.
    """

    row: HostClient
    runner: Runner
    verify_at: float
    synced_at: float | None
    busy: bool = False
    began_at: float = 0.0
    is_outdated: bool = False
    is_called: bool = False
    is_trusted: bool | None = None
    needs_load: bool = True
    problem: str = ""


@dataclass
class _Noted:
    at: float
    status: Literal["success", "failed"]


@dataclass
class Fleet:
    """The clients, of one thread.

    Attributes:
        verify_every_s: how often source and replica of a client are compared whole.
        idle: how many looks found nothing to do.
        is_urgent: whether an outcome is of a run, and to be written down at once.
        last_synced_at: when a replica was last found to be what its source is; monotonic seconds.
    """

    identity: Identity
    database: Database
    clock: Clock
    verify_every_s: float = VERIFY_EVERY_S
    draw: Draw = random.uniform
    idle: int = 0
    is_urgent: bool = False
    last_synced_at: float | None = None
    schedule: Schedule = field(init=False)
    members: dict[str, Member] = field(default_factory=dict)
    _noted: dict[str, _Noted] = field(default_factory=dict)
    _paused: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.clock, self.draw)

    def enter(self, rows: Sequence[HostClient]) -> None:
        """Take the lead with these clients, each due when its row says."""
        self._paused = frozenset(row.client_name for row in rows if not row.is_active)
        for row in rows:
            if row.is_active:
                self._add(row, row.due_in_s or 0)

    def leave(self) -> None:
        """Lead no more. The source of a client whose run is under way is closed by whoever sees that run end."""
        for member in self.members.values():
            if not member.busy:
                member.runner.close()
        self.members.clear()
        self.schedule.clear()
        self._noted.clear()
        self.is_urgent = False

    def update(self, rows: Sequence[HostClient]) -> list[str]:
        """Follow the rows as they are now; return the clients that are not to be replicated any more."""
        active = {row.client_name: row for row in rows if row.is_active}
        self._paused = frozenset(row.client_name for row in rows) - active.keys()
        gone = [name for name in self.members if name not in active]
        for name in gone:
            self._drop(name)
        # What a paused one finished is its row's for as long as that is there, and no later registration's.
        known = self.members.keys() | self._paused
        self._noted = {name: noted for name, noted in self._noted.items() if name in known}
        for name, row in active.items():
            if name in self.members:
                self._change(self.members[name], row)
            else:
                self._add(row, 0)
        return gone

    def due(
        self, is_running: Callable[[str], bool], is_wanted: Callable[[str], bool], *, verifies: bool
    ) -> Iterator[Run]:
        """Yield the runs that are due, without a term yet; what is idle is noted, and waits for its next time.

        Args:
            is_running: whether a run of an earlier lead is still under way.
            is_wanted: whether a job of the client waits, which an idle one is run for too.
            verifies: whether a verification is under way; there is one at a time.
        """
        for name in self.schedule.due():
            member = self.members[name]
            if is_running(name):
                self.schedule.try_again(name)
                continue
            idle = self._is_idle(member) and not is_wanted(name)
            late_s = self.clock() - member.verify_at
            if not verifies and member.is_trusted and late_s >= (0 if idle else _PATIENCE_S):
                verifies = True
                yield self._begin(member, "verify", "verify")
            elif idle:
                self._note_idle(member)
            else:
                yield self.begin(name)

    def begin(self, client: str, *, full: bool = False) -> Run:
        """Return a run of a client that is not under way, due or not."""
        member = self.members[client]
        if member.is_trusted is None:
            self._find_out(member)
        self.schedule.take(client)
        return self._begin(member, "heavy" if full or member.needs_load else "light", "sync")

    def ended(self, run: Run, ended: Ended) -> None:
        """Note how a run went."""
        member = self.members.get(run.client)
        if member is None or member.runner is not run.runner:
            run.runner.close()
        if member is None or not member.busy:  # it has left, and may have come back
            if ended.outcome == "success" and run.client in self._paused:
                self._noted[run.client] = _Noted(self.clock(), "success")
                self.is_urgent = True
            return
        member.busy = False
        member.problem = ended.problem
        if ended.outcome == "success":
            self._succeeded(member, run, ended)
        else:
            self._failed(member, run, ended)
        if member.is_called:
            member.is_called = False
            self.schedule.bring_forward(run.client)

    def outcomes(self) -> list[Outcome]:
        """Return what is to be written down."""
        now = self.clock()
        return [
            Outcome(
                client_name=name,
                age_s=now - noted.at if noted.status == "success" else None,
                status=noted.status,
                next_in_s=self.schedule.due_in_s(name) if name in self.schedule else None,
            )
            for name, noted in self._noted.items()
        ]

    def written(self, clients: set[str]) -> None:
        """Note that the outcomes of these clients are written down."""
        self._noted = {name: noted for name, noted in self._noted.items() if name not in clients}
        self.is_urgent = False

    def work(self) -> tuple[ClientWork, ...]:
        """Return the clients as they are now."""
        now = self.clock()
        return tuple(
            ClientWork(
                client=name,
                last_success_age_s=None if member.synced_at is None else now - member.synced_at,
                due_in_s=self.schedule.due_in_s(name),
                failures=self.schedule.failures(name),
                problem=member.problem,
            )
            for name, member in self.members.items()
        )

    def _add(self, row: HostClient, due_in_s: float) -> None:
        now = self.clock()
        self.members[row.client_name] = Member(
            row,
            Runner(self.identity, self.database, row.client_name, row.config),
            verify_at=now + self._verify_in_s(row),
            synced_at=None if row.synced_age_s is None else now - row.synced_age_s,
        )
        self.schedule.add(row.client_name, _interval_s(row), due_in_s=due_in_s)

    def _verify_in_s(self, row: HostClient) -> float:
        """Spread what is overdue: a new leader has not to verify everything at once."""
        if not row.generation:
            return self.verify_every_s  # its first load is verified
        left_s = self.verify_every_s - (self.verify_every_s if row.verified_age_s is None else row.verified_age_s)
        return left_s if left_s > 0 else self.draw(0, min(_PATIENCE_S, self.verify_every_s / 4))

    def _drop(self, name: str) -> None:
        member = self.members.pop(name)
        self.schedule.drop(name)
        self._noted.pop(name, None)
        if not member.busy:
            member.runner.close()

    def _change(self, member: Member, row: HostClient) -> None:
        if row.config.get("sqlite_path") != member.row.config.get("sqlite_path"):
            if not member.busy:
                member.runner.close()
            member.runner = Runner(self.identity, self.database, row.client_name, row.config)
        member.is_trusted, member.is_outdated = None, member.busy
        member.row = row
        self.schedule.change_interval(row.client_name, _interval_s(row))
        # It may have been switched off and on, or registered anew, before this look: whoever did that made it due.
        if row.due_in_s is None or not -_JUST_NOW_S <= row.due_in_s <= 0:
            return
        if member.busy:
            member.is_called |= self.clock() + row.due_in_s > member.began_at
        else:
            self.schedule.bring_forward(row.client_name)

    def _is_idle(self, member: Member) -> bool:
        if member.is_trusted is None:
            self._find_out(member)
        if not member.is_trusted:
            return False
        try:
            return member.runner.is_idle()
        except OSError:
            return False  # the run says why

    def _find_out(self, member: Member) -> None:
        """See whether this machine has the baseline of what the replica is, by its row."""
        row = member.row
        has_baseline = row.generation > 0 and member.runner.stands_at(row.generation, row.token)
        member.is_trusted = has_baseline and row.is_settled
        member.needs_load = not has_baseline or not row.has_schema

    def _begin(self, member: Member, lane: Lane, kind: Literal["sync", "verify"]) -> Run:
        member.busy, member.began_at = True, self.clock()
        return Run(member.runner, 0, lane, kind)

    def _note_idle(self, member: Member) -> None:
        self.idle += 1
        self.schedule.went_well(member.row.client_name)
        self._note(member, "success")

    def _note(self, member: Member, status: Literal["success", "failed"]) -> None:
        now = self.clock()
        if status == "success":
            member.synced_at = self.last_synced_at = now
        self._noted[member.row.client_name] = _Noted(now, status)

    def _succeeded(self, member: Member, run: Run, ended: Ended) -> None:
        now = self.clock()
        # What was read meanwhile may be from before it, or after a restore: the next run finds out.
        member.is_trusted = True if member.runner is run.runner and not member.is_outdated else None
        member.is_outdated = False
        member.needs_load = False
        if run.kind == "verify" or (isinstance(ended.result, RunResult) and ended.result.level == "full"):
            member.verify_at = now + self.verify_every_s
        self.schedule.went_well(run.client)
        self._note(member, "success")
        self.is_urgent = True

    def _failed(self, member: Member, run: Run, ended: Ended) -> None:
        member.is_trusted, member.is_outdated = False, False
        if run.kind == "verify":
            member.verify_at = self.clock() + min(_PATIENCE_S, self.verify_every_s)
        if ended.again or ended.outcome in {"skipped", "fenced"}:
            self.schedule.try_again(run.client)
        else:
            self.schedule.failed(run.client)
        if ended.outcome == "failed":
            self._note(member, "failed")
            self.is_urgent = True


def _interval_s(row: HostClient) -> int:
    return max(_SHORTEST_INTERVAL_S, row.interval_s)
