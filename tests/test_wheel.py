"""What is built for users: the files in it, and that it works where no checkout is."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.backend import of_no_backend
from tests.documents import BLOCK, ROOT

pytestmark = of_no_backend

# Runs README's first example, saves its model, and says where the package came from.
EXAMPLE = """
{example}
model.save("model.keras")
print(ka.__file__)
try:
    import recipes
except ModuleNotFoundError:
    print("no recipes")
"""


@pytest.fixture(scope="module")
def tracked():
    """Our files, as Git knows them, and new ones that it does not ignore."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: what belongs into the sdist is not known")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in names.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(tracked, tmp_path_factory):
    """The paths of sdist and wheel; the wheel is built from the sdist, without network."""
    folder = tmp_path_factory.mktemp("built")
    for name in tracked:  # apart, as what was built before would be packed again
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, folder / "source"], capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def fresh(built, tmp_path_factory):
    """The programs of a fresh environment with the wheel, and all else as installed here."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    install = ["install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "--python", programs / "python", *install, built[1]]
    subprocess.run(command, check=True)
    # After the wheel's own, and without the `.pth` files there, such as that of this checkout.
    (site,) = folder.rglob("site-packages")
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(paths)))
    return programs


def _run(command, folder):
    """What a command prints on both streams, run where no checkout is."""
    ours = ("PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL")  # JAX sets the second when it is imported
    surroundings = {k: v for k, v in os.environ.items() if k not in ours}
    done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return done


def test_the_wheel_holds_the_package_and_the_command_alone(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = wheel.namelist()
        (metadata,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        entry_points = wheel.read(f"{metadata}/entry_points.txt").decode()
    folders = {name.partition("/")[0] for name in names}
    assert folders == {"keras_attention", "keras_attention_command", metadata}
    assert "keras-attention = keras_attention_command.main:main" in entry_points
    assert "keras_attention/py.typed" in names
    for package in ("keras_attention", "keras_attention_command"):
        sources = {str(p.relative_to(ROOT)) for p in (ROOT / package).rglob("*.py")}
        assert sources <= set(names)


def test_the_sdist_is_complete(built, tracked):
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    missing = set(tracked) - names
    assert not missing, f"name them in MANIFEST.in: {sorted(missing)}"
    names -= {"PKG-INFO", "setup.cfg", *(n for n in names if ".egg-info/" in n)}  # by setuptools
    extra = {n for n in names if (ROOT / n).is_file()} - set(tracked)
    assert not extra, f"exclude them in MANIFEST.in: {sorted(extra)}"


@pytest.mark.slow
def test_the_wheel_works_without_a_checkout(fresh, tmp_path):
    """README's first example runs, the command reads its model, and there are no recipes."""
    example = BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))[1]
    (tmp_path / "example.py").write_text(EXAMPLE.format(example=example))
    shown = _run([fresh / "python", "example.py"], tmp_path).stdout.splitlines()
    assert Path(shown[-2]).is_relative_to(fresh.parent) and shown[-1] == "no recipes"
    done = _run([fresh / "keras-attention", "info", "model.keras"], tmp_path)
    assert "attention layers" in done.stdout and "pool" in done.stdout
    assert done.stderr == ""  # above all, no log of TensorFlow
