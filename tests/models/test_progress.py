"""What is told of a process."""

import subprocess
import sys

import pytest

CHILD = "from models.progress import peak_gigabytes; print(peak_gigabytes())"
PARENT = f"""
import subprocess, sys
block = b"x" * 400_000_000
print(subprocess.run([sys.executable, "-c", {CHILD!r}], check=True, capture_output=True, text=True).stdout)
{CHILD}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's mark is Linux's")
def test_the_peak_of_a_process_is_not_that_of_its_parent():
    done = subprocess.run([sys.executable, "-c", PARENT], check=True, capture_output=True, text=True)
    child, parent = map(float, done.stdout.split())
    assert child < 0.2
    assert 0.37 < parent < 0.6
