"""Makes the modules of the replication's benchmarks importable: their server, and their table of figures."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "replication"))
