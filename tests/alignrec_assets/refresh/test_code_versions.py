"""Code versions: a change at the far end of the imports makes an asset stale, and words do not."""

import ast
import shutil

import pytest

from alignrec_assets.refresh import code_versions, source_code
from alignrec_assets.refresh.code_versions import queries_of, reached_by, version_of
from alignrec_assets.refresh.declarations import DECLARED
from alignrec_assets.refresh.source_code import queries_in, shape_of
from alignrec_assets.warehouse import queries


def forget():
    """What was read of the sources."""
    for module in (code_versions, source_code, queries):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the project's sources that code versions are derived from, to change."""
    for name in ("models", "alignrec_assets", "sql"):
        shutil.copytree(source_code.PACKAGES / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source_code, "PACKAGES", tmp_path)
    monkeypatch.setattr(queries, "_ROOMS", (tmp_path / "sql",))
    forget()
    yield tmp_path
    monkeypatch.undo()
    forget()


def versions():
    forget()
    return {name: version_of(name) for name in DECLARED}


def moved_by(path, change):
    """The assets whose code version a change of a file moves."""
    before = versions()
    text = path.read_text(encoding="utf-8")
    assert change(text) != text
    path.write_text(change(text), encoding="utf-8")
    return {name for name, version in versions().items() if version != before[name]}


def one_line_more(text):
    return f"{text}\n\nFAR = 1\n"


def test_a_changed_line_at_the_far_end_of_the_imports_makes_everything_stale_that_reaches_it(copy):
    far = copy / "models" / "language" / "label_trie.py"
    moved = moved_by(far, one_line_more)
    assert {"novelty_model", "alignment_model", "candidates.pools", "candidates.scored"} <= moved
    assert not {"raw.events", "interests.clusters", "feedback.transition_scores", "training.novelty_examples"} & moved


@pytest.mark.parametrize(
    ("module", "asset"),
    [
        ("novelty/label_distribution.py", "candidates.pools"),
        ("interests/item_embeddings.py", "alignment_model"),
        ("feedback/priors.py", "training.pointwise_examples"),
        ("serving/transition_table.py", "publication.transition_table"),
    ],
)
def test_no_module_that_makes_an_asset_is_forgotten(copy, module, asset):
    assert asset in moved_by(copy / "models" / module, one_line_more)


def test_a_changed_step_is_stale_itself(copy):
    path = copy / "alignrec_assets" / "assets" / "feedback.py"
    moved = moved_by(path, lambda text: text.replace('"not_skipped")', '"not_skipped", "more")'))
    assert moved == {"feedback.transition_scores"}


def test_words_make_nothing_stale(copy):
    def reworded(text):
        opening, _, rest = text.partition('"""')
        return f'{opening}"""Other words. {rest}\n\n# A comment.\n'

    assert moved_by(copy / "models" / "language" / "label_trie.py", reworded) == set()
    assert (
        moved_by(copy / "sql" / "training" / "novel_transitions.sql", lambda text: f"-- Other words.\n{text}") == set()
    )
    logged = moved_by(
        copy / "alignrec_assets" / "assets" / "checkpoints.py",
        lambda text: text.replace("context.log.info(", "context.log.warning(", 1),
    )
    assert logged == set()


def test_a_picture_or_a_line_of_progress_trains_no_model(copy):
    assert moved_by(copy / "models" / "progress.py", one_line_more) == set()
    assert moved_by(copy / "models" / "alignment" / "pictures.py", one_line_more) == set()


def test_a_changed_query_makes_its_table_stale(copy):
    change = lambda text: text.replace("AND positive", "AND NOT positive")  # noqa: E731
    assert moved_by(copy / "sql" / "training" / "novel_transitions.sql", change) == {"training.novel_transitions"}
    landing = moved_by(copy / "sql" / "landing" / "outcomes.sql", lambda text: f"{text} LIMIT 1")
    assert "raw.feedback_logs" in landing
    assert not {"interests.user_cluster_days", "novelty_model"} & landing


def test_a_literal_is_not_a_column_of_the_same_name(copy):
    path = copy / "sql" / "feedback" / "impressions.sql"
    moved = moved_by(path, lambda text: text.replace("= 'random'", "= random"))
    assert moved == {"feedback.transition_users"}


def test_bytes_reports_and_what_is_logged_in_another_branch_make_nothing_stale(copy):
    assert moved_by(copy / "models" / "files.py", one_line_more) == set()
    assert moved_by(copy / "alignrec_assets" / "assets" / "reports.py", one_line_more) == set()
    path = copy / "alignrec_assets" / "assets" / "interests.py"
    assert moved_by(path, lambda text: text.replace("skipped: taxonomy", "left: taxonomy")) == set()


def test_modules_whose_names_end_like_those_that_compute_nothing_count():
    closure = code_versions.import_closure(["alignrec_assets.landing.readers"])
    assert {"alignrec_assets.landing.text_files", "alignrec_assets.landing.parquet_files"} <= closure


def test_the_shape_of_code_tells_statements_and_no_layout():
    one, other, more = (shape_of(ast.parse(text)) for text in ("a = (1)", "a  =  1 # why", "a = '1'"))
    assert one == other
    assert one != more


def test_queries_are_found_by_their_names_and_by_what_their_names_begin_with():
    tree = ast.parse('query("raw.items"); query(f"landing.{kind}"); query(name); other("raw.events")')
    found = queries_in(ast.walk(tree))
    assert "raw.items" in found
    assert {name for name in queries.relations() if name.startswith("landing.")} <= found
    assert "raw.events" not in found


def test_a_step_reaches_functions_and_constants_of_its_own_group_and_functions_of_others():
    names = {name for _, name in reached_by("alignment_search").statements}
    assert {"alignment_search", "_search", "ASSET", "alignment_options", "score_options"} <= names
    assert "feedback.transition_scores" in queries_of("training.pointwise_examples")


def test_an_asset_that_no_step_makes_is_an_error():
    with pytest.raises(LookupError, match=r'marked @makes\("raw.nothing"\)'):
        reached_by("raw.nothing")
