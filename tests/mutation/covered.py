"""Which tests are to notice a fault in which file: those that meet it first stand first. A file has one entry at least.

Files of ``models`` have the tests that bear their name; the table names what covers them beside those.
"""

from pathlib import Path

FEEDBACK = "tests/models/feedback"
ALIGNMENT = "tests/models/alignment"
NOVELTY = "tests/models/novelty"
LANDING = "tests/alignrec_assets/landing"
ASSETS = "tests/alignrec_assets/assets"
WINDOWS = "tests/sql/test_windows.py"
DEFINITIONS = "tests/sql/test_definitions.py"
INTERESTS = "tests/sql/test_interest_tables.py"
CONDITIONS = "tests/alignrec_assets/automation/test_conditions.py"
FORGETTING = "tests/alignrec_assets/housekeeping/test_forgetting.py"
PRUNING = "tests/alignrec_assets/housekeeping/test_pruning.py"
QUALITY = f"{ASSETS}/test_quality_checks.py"
TRAINING = (f"{ALIGNMENT}/test_leaks.py", f"{ALIGNMENT}/test_training.py")

COVERED: dict[str, tuple[str, ...]] = {
    # folders
    "models/feedback": (f"{FEEDBACK}/test_leaks.py", f"{FEEDBACK}/test_transition_scores.py"),
    "models/novelty": (f"{NOVELTY}/test_leaks.py", f"{NOVELTY}/test_training.py"),
    "models/alignment": TRAINING,
    "models/evaluation": (f"{ALIGNMENT}/test_report.py",),
    "sql/landing": (f"{LANDING}/test_loading.py", f"{LANDING}/test_wild_values.py", f"{LANDING}/test_survey.py"),
    "sql/macros": (f"{LANDING}/test_wild_values.py", f"{LANDING}/test_loading.py"),
    "sql/raw": (f"{LANDING}/test_loading.py", "tests/sql/test_raw_feedback_logs.py", f"{LANDING}/test_survey.py"),
    "sql/ingest": (
        "tests/sql/test_ingest.py",
        "tests/alignrec_assets/commands/test_ingest.py",
    ),
    "sql/interests": ("tests/sql/test_past.py", DEFINITIONS, INTERESTS),
    "sql/feedback": (DEFINITIONS, INTERESTS, f"{ASSETS}/test_feedback.py"),
    "sql/training": (DEFINITIONS, INTERESTS, f"{ASSETS}/test_training.py"),
    "sql/candidates": (INTERESTS, DEFINITIONS),
    "sql/evaluation": (WINDOWS, QUALITY),
    "sql/housekeeping": ("tests/sql/test_housekeeping_tables.py", FORGETTING, PRUNING),
    # files
    "models/feedback/score_changes.py": (),
    "models/feedback/splits.py": (f"{ALIGNMENT}/test_pointwise_examples.py",),
    "models/alignment/apart_examples.py": (f"{ALIGNMENT}/test_users_apart.py",),
    "models/alignment/passes.py": (f"{ALIGNMENT}/test_trainer.py", *TRAINING),
    "models/alignment/snapshots.py": (f"{ALIGNMENT}/test_trainer.py", *TRAINING),
    "models/alignment/stack_offsets.py": (f"{ALIGNMENT}/test_candidate_reader.py", *TRAINING),
    "models/novelty/label_expansion.py": ("tests/models/candidates/test_candidate_pools.py",),
    "models/novelty/report.py": (f"{NOVELTY}/test_label_vectors.py", f"{NOVELTY}/test_leaks.py"),
    "models/novelty/training.py": (f"{NOVELTY}/test_training_length.py", f"{NOVELTY}/test_leaks.py"),
    "models/novelty/transitions.py": (f"{NOVELTY}/test_affinity_law.py", f"{NOVELTY}/test_yardsticks.py"),
    "models/evaluation/metrics.py": (),
    "sql/evaluation/clustered_events.sql": (QUALITY,),
    "sql/evaluation/feedback_since.sql": (WINDOWS, CONDITIONS),
    "sql/evaluation/exposures_by_policy.sql": (DEFINITIONS, f"{ASSETS}/test_feedback.py"),
    "sql/evaluation/history_holders.sql": (WINDOWS,),
    "sql/evaluation/novel_impressions.sql": (WINDOWS,),
    "sql/feedback/standing_scores.sql": (WINDOWS,),
    "sql/feedback/transition_scores.sql": (WINDOWS, "tests/sql/test_transition_scores.py"),
    "sql/training/pointwise_examples.sql": (WINDOWS,),
    "sql/interests/cluster_examples.sql": ("tests/alignrec_assets/commands/test_clusters.py",),
    "sql/raw/rejected_rows_shown.sql": ("tests/alignrec_assets/commands/test_rejected.py",),
    "sql/raw/pruned_days.sql": (PRUNING,),
    "alignrec_assets/assets/planned_histories.py": (f"{ASSETS}/test_planned_histories.py",),
    "alignrec_assets/assets/training.py": (f"{ASSETS}/test_training.py", CONDITIONS),
    "alignrec_assets/assets/feedback.py": (f"{ASSETS}/test_feedback.py", CONDITIONS),
}


def covered_files(root: Path) -> list[str]:
    """All files that have tests, from the root of the project: those of ``models``, of ``sql``, and some assets."""
    found = [*root.glob("models/*/*.py"), *root.glob("sql/*/*.sql")]
    names = [path.relative_to(root).as_posix() for path in found if not path.stem.endswith(("__init__", "pictures"))]
    return sorted(
        name for name in [*names, *(name for name in COVERED if "assets" in name)] if covering_tests(name, root)
    )


def covering_tests(path: str, root: Path) -> list[str]:
    """The tests of one file, each once: those that bear its name, then those of the table."""
    folder, _, name = path.rpartition("/")
    own = f"tests/{folder}/test_{Path(name).stem}.py"
    named = COVERED[path] if path in COVERED else COVERED.get(folder, ())
    return list(dict.fromkeys([*([own] if (root / own).is_file() else []), *named]))
