"""Pack the course for computers without a network: python docs/bundle.py dist/glassnet-course [torch==VERSION]

``make docs`` must have built the site. The folder gets notebooks, pages and the wheels that they need, for this system
and this version of Python. Arguments after the folder are further packages to pack, such as PyTorch.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from notebooks import DOCS, write_notebooks

ROOT = DOCS.parent
INSTALL = """\
The glassnet course, for Python {version} on {platform}. Nothing is downloaded.

Install, in this folder:

    {python} -m venv course && course/bin/python -m pip install --no-index --find-links wheels -r requirements.txt

Begin:

    course/bin/jupyter lab notebooks/student

notebooks/teacher has the same notebooks with the solutions, folded. pages/course/index.html is the course to read.
"""


def main(folder: Path, packages: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    site = folder / "pages"
    shutil.copytree(ROOT / "build/docs", site, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))
    # Chapter 9 displays stored measurements.
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    write_notebooks(folder / "notebooks/teacher", student=False, site=site)
    write_notebooks(folder / "notebooks/student", student=True, site=site)
    (folder / "requirements.txt").write_text("\n".join(["glassnet", "jupyterlab", *packages]) + "\n", encoding="utf-8")
    download_wheels(folder / "wheels", packages)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    text = INSTALL.format(version=python.removeprefix("python"), platform=sys.platform, python=python)
    (folder / "INSTALL.txt").write_text(text, encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.0f} MB. {folder / 'INSTALL.txt'} has the line that installs it.")


def download_wheels(folder: Path, packages: list[str]) -> None:
    """Collect the wheels of glassnet, JupyterLab and further packages, in the versions of the lock files."""
    locks = [f"--constraint={ROOT / name}" for name in ("requirements.lock", "requirements-docs.lock")]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder), *locks]
    subprocess.run([*command, str(ROOT), "jupyterlab", *packages], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
