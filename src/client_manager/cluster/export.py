"""Write everything that the sync system knows of a cluster into one file, which ``restore`` takes back."""

from datetime import UTC, datetime
from pathlib import Path

import client_manager
from client_manager import guard
from client_manager.app import App
from client_manager.gateways import bundles, host
from client_manager.models.deregistration import Bundle, Circumstances, ClusterSnapshot


def bundle_folder(app: App) -> Path:
    """Return where bundles are written unless another folder is named."""
    return app.settings.data_root / bundles.FOLDER


def export(
    app: App, cluster: str, *, circumstances: Circumstances | None = None, folder: Path | None = None
) -> tuple[Path, ClusterSnapshot]:
    """Write a cluster's bundle, read it again, and return where it is and what was read in the same moment.

    Changes nothing. Rows, the settings in ``cluster.json``, and no secret; the tenants' rows in conflicts are in it.

    Raises:
        NotFound: there is no such cluster.
        Blocked: this database user may not see every row.
        ClientManagerError: the file could not be written, or not read again as it was written.
    """
    with app.deregistration_store() as store:
        snapshot, version, rows = store.read(cluster, circumstances or Circumstances())
    spec = app.cluster_files.read(cluster) if cluster in app.cluster_files.names() else None
    bundle = Bundle(
        cluster=cluster,
        made_at=datetime.now(UTC),
        made_by=host.operator(),
        made_with=client_manager.__version__,
        fingerprint=guard.fingerprint(snapshot),
        schema_version=version,
        tables={table: tuple(bundles.row(row) for row in found) for table, found in rows.items()},
        settings=spec.model_dump(mode="json") if spec else None,
    )
    return bundles.write(folder or bundle_folder(app), bundle), snapshot
