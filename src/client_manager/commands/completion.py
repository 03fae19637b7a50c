"""The names that a shell completes: out of files alone, at once, and never with an error into a half-typed line."""

from collections.abc import Callable, Iterable

from client_manager.errors import ClientManagerError


def clients(incomplete: str) -> list[str]:
    """Return the clients of this machine that have a spec and begin so."""
    from client_manager.gateways.client_files import ClientFiles
    from client_manager.settings import load_settings

    return _beginning(incomplete, lambda: ClientFiles(load_settings().data_root).names())


def clusters(incomplete: str) -> list[str]:
    """Return the clusters of this machine that begin so."""
    from client_manager.gateways.cluster_files import ClusterFiles
    from client_manager.settings import load_settings

    return _beginning(incomplete, lambda: ClusterFiles(load_settings().data_root).names())


def cut_off(incomplete: str) -> list[str]:
    """Return the clients that begin so and on which an operation was begun and not ended."""
    from client_manager.gateways.client_files import ClientFiles
    from client_manager.settings import load_settings

    def found() -> Iterable[str]:
        return (operation.client for operation in ClientFiles(load_settings().data_root).operations())

    return _beginning(incomplete, found)


def _beginning(incomplete: str, names: Callable[[], Iterable[str]]) -> list[str]:
    """Return the names that begin so; what may not be read completes nothing, as a folder does in a shell."""
    try:
        return [name for name in names() if name.startswith(incomplete)]
    except ClientManagerError:
        return []
