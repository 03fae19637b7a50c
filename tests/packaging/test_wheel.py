"""The wheel, made from the sdist, installed elsewhere, run from /: nothing it needs may stay behind in the checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)  # what is made for all of them is in the time of the first
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the sdist, as a package index would get it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)],
        check=True,
        capture_output=True,
    )
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and this environment's libraries, but not the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "libraries.pth").write_text(f"{libraries}\n")
    return python


def shipped_files() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "sql", "templates"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    )
    return set(listed.stdout.split())


def test_the_wheel_carries_all_of_sql_and_templates(wheel: Path) -> None:
    names = {name.removeprefix("client_manager/_data/") for name in zipfile.ZipFile(wheel).namelist()}
    assert shipped_files()
    assert shipped_files() <= names


def test_the_manual_page_is_installed_where_man_looks(installed: Path) -> None:
    page = installed.parents[1] / "share" / "man" / "man1" / "client-manager.1"
    assert page.read_text() == (CHECKOUT / "docs" / "client-manager.1").read_text()


def test_the_wheel_carries_the_database_of_the_demo(wheel: Path) -> None:
    assert "client_manager/demo/webui-0.12.4.db.xz" in zipfile.ZipFile(wheel).namelist()


def test_the_installed_program_runs_from_the_root_folder(installed: Path, tmp_path: Path) -> None:
    program = installed.with_name("client-manager")
    run = subprocess.run(
        [program, "--version"], cwd="/", env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("client-manager ")


def test_the_installed_program_reads_its_own_resources(installed: Path, tmp_path: Path) -> None:
    script = "from client_manager import resources as r; print(r.root()); print(r.read_text('sql', 'README.md'))"
    run = subprocess.run(
        [installed, "-c", script], cwd="/", env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    place, _, text = run.stdout.partition("\n")
    assert place.startswith(str(installed.parents[1]))
    assert text.strip() == (CHECKOUT / "sql" / "README.md").read_text().strip()


def test_the_editable_install_reads_the_checkout(tmp_path: Path) -> None:
    script = "from client_manager import resources as r; print(r.root())"
    environment = {**os.environ, "HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd="/", env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == str(CHECKOUT)
