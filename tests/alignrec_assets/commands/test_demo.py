"""The demo writes the calendar of a new home, and the partitions read it when they are imported: the order matters."""

import subprocess
import sys


def test_the_demo_is_imported_without_the_partitions():
    code = "import sys, alignrec_assets.commands.demo; print('alignrec_assets.partitions' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
