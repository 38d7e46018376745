"""mlx-vlm reads what we convert, and we read what it quantised.

Needs an environment of its own, as mlx-vlm replaces the headless OpenCV:
`python -m venv .venv-bench && .venv-bench/bin/pip install mlx-vlm==0.7.10 mlx[cpu] soundfile soxr
pillow-heif psutil llguidance`, then `pytest -m slow tests/model/peers`.
"""

import json
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["e2b", "26b"])
def test_checkpoints_go_both_ways(arch):
    python = PROJECT / ".venv-bench" / "bin" / "python"
    assert python.exists(), "make .venv-bench first, see the module docstring"
    script = Path(__file__).with_name("mlx_vlm_files.py")
    done = subprocess.run(
        [python, script, arch],
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    shares = json.loads(done.stdout.strip().splitlines()[-1])
    assert max(shares.values()) <= 1e-4, shares
