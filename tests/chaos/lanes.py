"""Two clusters at once: what happens to nodes on the one, what happens to servers on the other."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from client_manager.models.sync import LeaseTimes
from tests.chaos import clocks, cluster
from tests.chaos import faults_of_nodes as nodes
from tests.chaos import faults_of_servers as servers
from tests.chaos.trial import Fault, Row, tried

LANES: Mapping[str, Mapping[str, Fault]] = {
    "nodes": {
        "leader killed (-9), idle": nodes.killed_idle,
        "leader killed (-9) before COMMIT": nodes.killed_at(nodes.BEFORE_COMMIT),
        "leader killed (-9) in the shadow write": nodes.killed_at(nodes.IN_THE_SHADOW),
        "leader frozen and thawed, idle": nodes.frozen_idle,
        "leader frozen and thawed before COMMIT": nodes.frozen_at(nodes.BEFORE_COMMIT),
        "leader frozen and thawed in the shadow write": nodes.frozen_at(nodes.IN_THE_SHADOW),
        "leader cut off the network": nodes.leader_cut_off,
        "both nodes cut off the network": nodes.both_cut_off,
        "leader's packets vanish (half-open TCP)": nodes.leader_half_open,
        "leader's clock one hour ahead, and back": clocks.leaders_clock_moved,
        "follower's clock one hour ahead": clocks.followers_clock_moved,
        "two nodes with one name": nodes.two_with_one_name,
        "leader killed and restarted within its lease": nodes.restarted_within_the_lease,
    },
    "servers": {
        "PostgreSQL restarted": servers.restarted,
        "PostgreSQL killed (-9) and started": servers.killed,
        "PostgreSQL gone for two minutes": servers.gone_for_two_minutes,
        "PostgreSQL back with an older state": servers.back_with_an_older_state,
        "password rotated while running": servers.password_rotated,
        "connection limit reached": servers.connections_used_up,
        "transaction pooler in front, leader killed (-9)": servers.through_a_transaction_pooler,
        "disk of the nodes' state full": servers.state_disk_full,
        "disk of PostgreSQL full": servers.server_disk_full,
    },
}


class Lane(threading.Thread):
    """A cluster, and the faults that it suffers one after another."""

    def __init__(self, api: Any, image: str, faults: Mapping[str, Fault]) -> None:
        super().__init__(daemon=True)
        self._api, self._image, self._faults = api, image, faults
        self.rows: dict[str, Future[Row]] = {name: Future() for name in faults}

    def run(self) -> None:
        """Try each; where there is no cluster to be had, each of them says so."""
        try:
            if any("clock" in name for name in self._faults):
                clocks.fetching(self._api)
            with cluster.running(self._api, self._image, LeaseTimes()) as suffering:
                for name, fault in self._faults.items():
                    self._try(suffering, name, fault)
        except BaseException as error:  # noqa: BLE001  the test that waits for it raises it
            for row in self.rows.values():
                if not row.done():
                    row.set_exception(error)

    def _try(self, suffering: cluster.Cluster, name: str, fault: Fault) -> None:
        try:
            self.rows[name].set_result(tried(suffering, name, fault))
        except BaseException as error:  # noqa: BLE001  the test that waits for it raises it
            error.add_note(suffering.story())
            self.rows[name].set_exception(error)


def chosen(names: Sequence[str]) -> dict[str, dict[str, Fault]]:
    """Return the lanes with only these faults in them, and no empty lane."""
    found = {lane: {name: faults[name] for name in faults if name in names} for lane, faults in LANES.items()}
    return {lane: faults for lane, faults in found.items() if faults}
