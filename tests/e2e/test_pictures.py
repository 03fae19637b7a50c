"""The pictures of the README are what the program shows: drawn anew from a real run, they are the committed ones."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PICTURES = CHECKOUT / "docs" / "pictures"


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("node_image")
def test_the_pictures_come_out_the_same(app_image: str, tmp_path: Path) -> None:
    drawn = subprocess.run(
        [sys.executable, CHECKOUT / "docs" / "make_pictures.py", "--into", tmp_path, "--image", app_image],
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )

    assert drawn.returncode == 0, drawn.stderr
    assert {path.name for path in tmp_path.glob("*.svg")} == {path.name for path in PICTURES.iterdir()}
    changed = [path.name for path in PICTURES.iterdir() if (tmp_path / path.name).read_bytes() != path.read_bytes()]
    assert changed == [], "draw them anew: make pictures"
