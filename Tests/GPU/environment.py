"""Where Python, its packages and CUDA's libraries are, as variables for the programs that Tests/GPU/check runs."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def of_caches(state):
    """Kernels, measurements, and what PyTorch compiles."""
    return {
        "TURBOCAM_CACHE": str(state / "cache"), "TORCHINDUCTOR_CACHE_DIR": str(state / "inductor"),
        "TRITON_CACHE_DIR": str(state / "triton"),
    }


def simulated(release):
    """The simulated driver in the place of all three libraries."""
    names = ("TURBOCAM_LIBCUDA", "TURBOCAM_LIBNVRTC", "TURBOCAM_LIBCUBLASLT")
    return dict.fromkeys(names, str(release / "libcuda-simulator.so")) | {
        "CUDA_VISIBLE_DEVICES": "", "TURBOCAM_CACHE": str(release / "simulated"), "TURBOCAM_TUNING": "0",
    }


def find_python():
    """One that has PyTorch."""
    for name in (os.environ.get("PYTHON"), "python3", str(ROOT / ".venv/bin/python")):
        if name and shutil.which(name):
            if subprocess.run([name, "-c", "import torch"], capture_output=True).returncode == 0:
                return name
    return None


def of_packages(wheels, site):
    """Those that Python lacks; a wheel is a zip file of them."""
    for wheel in sorted(wheels.glob("*.whl")):
        zipfile.ZipFile(wheel).extractall(site)
    # Before what is installed: one version of each is enough.
    return {"PYTHONPATH": ":".join(part for part in (os.environ.get("PYTHONPATH"), str(site)) if part)}


def of_libraries(python):
    """NVRTC and cuBLASLt of PyTorch's wheels, in whatever environment that Python is: they are not looked for there."""
    if not python:
        return {}
    code = (
        "import glob, sys; print(*(f for p in sys.path for n in ('nvrtc', 'cublasLt') for f in "
        "sorted(glob.glob(p + '/nvidia/*/lib/lib' + n + '.so.*'))), sep='\\n')"
    )
    files = subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.split()
    found = {}
    for variable, name in (("TURBOCAM_LIBNVRTC", "libnvrtc.so."), ("TURBOCAM_LIBCUBLASLT", "libcublasLt.so.")):
        fitting = [file for file in files if Path(file).name.startswith(name) and "alt" not in Path(file).name]
        if fitting and variable not in os.environ:
            found[variable] = fitting[0]
    return found
