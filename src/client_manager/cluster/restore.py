"""Put a cluster's bundle back, beside whatever has come since; what cannot come back is said, and never overwritten."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from client_manager.app import App
from client_manager.errors import ClientManagerError, Conflict
from client_manager.gateways import bundles, lock, sync_roles
from client_manager.gateways.restore_store import ClientRow, RestoreStore
from client_manager.models.deregistration import Bundle, RestoreReport

_AFTER_CLIENTS: Final = ("replication_state", "sync_jobs", "sync_progress", "conflict_log", "cache_events")


def restore(app: App, path: Path, *, dry_run: bool, skip_clashes: bool = False) -> RestoreReport:
    """Put a bundle back in one transaction; a dry run does the same and takes it back.

    Clients come back exactly as they were. Rows that are there already stay. The lease never comes back, since a term
    must not go back; nor do a fence and a generation that are known.

    Args:
        app: the gateways.
        path: the bundle.
        dry_run: report only.
        skip_clashes: restore the rest where something clashes.

    Raises:
        NotFound: there is no such file.
        ConfigurationError: it is no bundle, was altered, or comes from a later schema.
        Conflict: something clashes, and ``skip_clashes`` is not set; nothing was written.
    """
    bundle = bundles.read(path)
    if dry_run:
        return _attempt(app, path, bundle, keep=False, skip_clashes=True)
    arguments = {"bundle": str(path), "skip_clashes": str(skip_clashes).lower()}
    with (
        lock.held(app.files.locks, f"cluster-{bundle.cluster}", "restore"),
        app.journal.action("cluster restore", bundle.cluster, arguments),
    ):
        return _attempt(app, path, bundle, keep=True, skip_clashes=skip_clashes)


def _attempt(app: App, path: Path, bundle: Bundle, *, keep: bool, skip_clashes: bool) -> RestoreReport:
    with app.restore_store() as store, store.attempt(keep=keep, schema_version=bundle.schema_version):
        work = _Work(store, bundle)
        work.carry_out()
        if work.clashes and not skip_clashes:
            raise Conflict(
                f"The bundle of {bundle.cluster} clashes with what is there now; nothing was restored.",
                why=" ".join(work.clashes),
                hint="Deregister what is in the way, or restore the rest with --skip-clashes.",
            )
    _give_replicas(app, work, keep=keep)
    return work.report(path, dry_run=not keep)


def _give_replicas(app: App, work: "_Work", *, keep: bool) -> None:
    """Give the clients' replicas to the cluster's nodes again, where these have a role; else their deployment does."""
    cluster, clients = work.bundle.cluster, work.back
    try:
        with sync_roles.of(app.database) as roles:
            deployed = roles.exists(sync_roles.node_role(cluster))
            for client in clients if keep and deployed else ():
                roles.ensure_owner(client, cluster)
        if clients and not deployed:
            work.notes.append(f"No nodes are deployed: client-manager cluster deploy {cluster}.")
    except ClientManagerError as error:
        work.notes.append(
            f"The rights to the replicas could not be given to the nodes: {error.what} Repeat the restore."
        )


@dataclass
class _Work:
    """One restore under way.

    Attributes:
        moved: old id -> new id of machines that are there under another.
        lost_hosts: ids of machines that cannot come back.
        refused: names of clients that cannot.
        back: names of those that are in the cluster now.
    """

    store: RestoreStore
    bundle: Bundle
    restored: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    linked: Counter[str] = field(default_factory=Counter)
    moved: dict[str, str] = field(default_factory=dict)
    clashes: list[str] = field(default_factory=list)
    lost_hosts: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    back: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def carry_out(self) -> None:
        for row in self._rows("hosts"):
            self._host(row)
        self._all("sync_nodes")
        for row in self._rows("client_deployments"):
            self._client(row)
        for table in _AFTER_CLIENTS:
            self._all(table)
        for table in ("sync_jobs", "conflict_log"):
            self.linked[table] = self.store.link(table, self._rows(table))

    def report(self, path: Path, *, dry_run: bool) -> RestoreReport:
        notes = list(self.notes)
        if self.bundle.tables.get("leader_election"):
            notes.append("The lease is not restored: the nodes elect a leader, with a higher term.")
        return RestoreReport(
            cluster=self.bundle.cluster,
            bundle=str(path),
            dry_run=dry_run,
            restored={table: count for table, count in self.restored.items() if count},
            present={table: count for table, count in self.present.items() if count},
            linked={table: count for table, count in self.linked.items() if count},
            clashes=tuple(self.clashes),
            notes=tuple(notes),
        )

    def _rows(self, table: str) -> list[str]:
        return [bundles.row_text(row) for row in self.bundle.tables.get(table, ())]

    def _all(self, table: str) -> None:
        rows = [row for row in self._rows(table) if self._may_come_back(table, json.loads(row))]
        restored = self.store.restore(table, rows, self.moved)
        self.restored[table] = restored
        self.present[table] = len(rows) - restored

    def _may_come_back(self, table: str, row: dict[str, Any]) -> bool:
        """Say whether what a row hangs on is there; history needs nothing, it only tells."""
        if table == "replication_state":
            return row["client_name"] not in self.refused
        return row.get("host_id") not in self.lost_hosts

    def _host(self, text: str) -> None:
        row = json.loads(text)
        found = self.store.hosts(UUID(row["host_id"]), row["hostname"], row["cluster_name"])
        if not found:
            self.store.restore_host(text)
            self.restored["hosts"] += 1
            return
        there = found[0]
        if (there.hostname, there.cluster_name) == (row["hostname"], row["cluster_name"]):
            self.present["hosts"] += 1
            if str(there.host_id) != row["host_id"]:
                self.moved[row["host_id"]] = str(there.host_id)
                self.notes.append(f"{there.hostname} was deployed again since; the clients come back to it as it is.")
            return
        self.lost_hosts.add(row["host_id"])
        self.clashes.append(
            f"The id of the host {row['hostname']} is {there.hostname}'s now, in the cluster {there.cluster_name}."
        )

    def _client(self, text: str) -> None:
        row = json.loads(text)
        found = self.store.clients(UUID(row["deployment_id"]), row["client_name"], row["container_name"])
        if not found and row["host_id"] not in self.lost_hosts:
            self.store.restore_client(text, UUID(self.moved.get(row["host_id"], row["host_id"])))
            self.restored["client_deployments"] += 1
            self.back.append(row["client_name"])
        elif found and self._is_there(row, found[0]):
            self.present["client_deployments"] += 1
            self.back.append(found[0].client_name)
        else:
            self.refused.add(row["client_name"])
            self.clashes.append(_clash(row, found))

    def _is_there(self, row: dict[str, Any], there: ClientRow) -> bool:
        return str(there.deployment_id) == row["deployment_id"] and there.cluster_name == self.bundle.cluster


def _clash(row: dict[str, Any], found: tuple[ClientRow, ...]) -> str:
    name = row["client_name"]
    if not found:
        return f"{name} has no host to come back to."
    there = found[0]
    where = f"in the cluster {there.cluster_name}" if there.cluster_name else "without a host"
    if there.client_name == name:
        return f"{name} is registered {where} now."
    if str(there.deployment_id) == row["deployment_id"]:
        return f"{name} is called {there.client_name} now, {where}."
    return f"The container {row['container_name']} of {name} belongs to {there.client_name} now, {where}."
