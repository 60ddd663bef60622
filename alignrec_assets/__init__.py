"""What exists, when it is refreshed and what it depends on: the Dagster side of alignrec, and only that.

No mathematics and no SQL text live here: an asset reads, calls one function of ``models`` or one file of ``sql``,
writes and reports.
"""

import os
from importlib.util import find_spec
from pathlib import Path

WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""How the threads of a matrix product wait for each other: asleep. libgomp reads it when torch is loaded. By
default they spin, and where another process has put one of them aside, the others burn the very core that it waits
for."""


def _refuse_foreign_models() -> None:
    """Raise ImportError where ``import models`` would find another package than the one beside this one.

    A stray ``models.py`` in the working folder shadows ours under ``dagster -m``.
    """
    ours = Path(__file__).resolve().parent.parent / "models" / "__init__.py"
    spec = find_spec("models")
    found = Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None
    if found != ours:
        raise ImportError(
            f"alignrec needs its own package 'models' at {ours}, but Python finds {found}. "
            "Run from another folder, or rename the one that shadows it."
        )


_refuse_foreign_models()
for _name, _value in WAITING.items():
    os.environ.setdefault(_name, _value)
