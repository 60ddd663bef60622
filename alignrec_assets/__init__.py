"""What exists, when it is refreshed and what it depends on: the Dagster side of alignrec, and only that.

No mathematics and no SQL text live here: an asset reads, calls one function of ``models`` or one file of ``sql``,
writes and reports.
"""

from importlib.util import find_spec
from pathlib import Path


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
