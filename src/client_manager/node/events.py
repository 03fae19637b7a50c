"""What others have changed in ``sync_metadata``: each node follows the events by their numbers."""

from dataclasses import dataclass
from typing import Final

from client_manager.gateways.job_store import JobStore
from client_manager.node.leadership import Leadership
from client_manager.node.report import Told

_OF_CLIENTS: Final = "deployment."


@dataclass
class Events:
    """The events of this process; told as ``cache_event``, and where it stands to ``Leadership``."""

    leadership: Leadership
    told: Told
    _seen: int | None = None

    def follow(self, store: JobStore, newest: int) -> bool:
        """Take note of what is new; True where it concerns clients.

        A process that begins knows nothing that could be out of date. Where PostgreSQL is an older one than before,
        everything may be.
        """
        seen = self._seen
        if seen is None or newest < seen:
            self._stand_at(newest)
            return True
        concerns = False
        events = store.events(seen) if newest > seen else ()
        for event in events:
            concerns = concerns or event.cache_key.startswith(_OF_CLIENTS)
            self.told("cache_event", {"key": event.cache_key, "action": event.action})
        self._stand_at(events[-1].event_number if events else newest)
        return concerns

    def _stand_at(self, number: int) -> None:
        self._seen = self.leadership.last_event = number
