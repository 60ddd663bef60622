"""A home of commit 6f88694, the last one before the packages had rooms.

90 simulated users, four days, a tiny model of 9,624 weights in the folder ``tiny_model``, and the line run twice, the
second time with 800 random impressions. A run of today's line makes everything in it again, in seconds.
"""

import tarfile
from pathlib import Path

from alignrec_assets.home import Home

STORED = Path(__file__).with_name("home_of_6f88694.tar.xz")


def unpack(folder):
    """The home, in a folder that does not exist yet."""
    with tarfile.open(STORED) as archive:
        archive.extractall(folder, filter="data")
    return Home(folder)
