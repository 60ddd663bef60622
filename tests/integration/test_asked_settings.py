"""Each step asks for the settings that its declaration names, and for no others: seen while the whole line runs."""

import contextvars
import functools

import pytest
from support.older_home import unpack

from alignrec_assets import definitions, resources
from alignrec_assets.commands.run import run_beside_the_line, run_line
from alignrec_assets.refresh.asset_factory import Step, steps_of
from alignrec_assets.refresh.declarations import DECLARATIONS, DECLARED
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sections import Section
from alignrec_assets.settings.sources import update_settings_file

STEP = contextvars.ContextVar("step", default=None)
SECTIONS = {field.annotation: name for name, field in Settings.model_fields.items()}
EVERY_KEY = {f"{section}.{key}" for kind, section in SECTIONS.items() if hasattr(kind, "model_fields")
             for key in kind.model_fields}  # fmt: skip


SOMETIMES = {
    "training.novelty_examples": {"feedback.replay_share", "history.clusters", "novelty.new_transitions_share"},
    "candidates.histories": {"candidates.unplanned_share"},
    "training.pointwise_examples": {"automation.new_feedback_share", "automation.drift_limit"},
}
"""Asked for with replayed feedback or long histories alone, to tell why there are no examples, and where the days alone
changed."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """By asset the settings that its step asked for, in a run that makes everything."""
    home = unpack(tmp_path_factory.mktemp("asked") / "home")
    update_settings_file(home, {"base_model": {"source": str(home.path / "tiny_model")}, "search": {"trials": 1}})
    update_settings_file(home, {"landing": {"attribution_hours": 12}})  # so that the last day's impressions are final
    found = {declared.name: set() for declared in DECLARATIONS}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(definitions, "steps_of", lambda groups: [recorded(step) for step in steps_of(groups)])
        patched.setattr(resources, "load_settings", unheard(resources.load_settings))
        patched.setattr(Section, "__getattribute__", listening(Section.__getattribute__, found))
        patched.setattr(Section, "model_dump", dumping(Section.model_dump, found))
        run_line(home, None, None, lambda _: None)
        for beside in ("search", "scaling"):
            run_beside_the_line(home, beside, lambda _: None)
    return found


def recorded(step):
    @functools.wraps(step.function)
    def function(*arguments, **named):
        token = STEP.set(step.declared.name)
        try:
            return step.function(*arguments, **named)
        finally:
            STEP.reset(token)

    return Step(step.declared, function)


def unheard(load):
    """Loading the settings validates them, whoever asks."""

    def loaded(home):
        token = STEP.set(None)
        try:
            return load(home)
        finally:
            STEP.reset(token)

    return loaded


def listening(get, found):
    def attribute(self, name):
        if STEP.get() is not None and f"{SECTIONS.get(type(self))}.{name}" in EVERY_KEY:
            found[STEP.get()].add(f"{SECTIONS[type(self)]}.{name}")
        return get(self, name)

    return attribute


def dumping(dump, found):
    def whole(self, **options):
        if STEP.get() is not None and type(self) in SECTIONS:
            section = SECTIONS[type(self)]
            kept = options.get("include") or type(self).model_fields
            found[STEP.get()] |= {f"{section}.{key}" for key in kept} & EVERY_KEY
        return dump(self, **options)

    return whole


def keys(names):
    """The keys behind names of settings and of whole sections."""
    return {key for name in names for key in EVERY_KEY if key == name or key.startswith(f"{name}.")}


@pytest.mark.parametrize("declared", DECLARATIONS, ids=lambda declared: declared.name)
def test_a_step_asks_for_what_is_declared(asked, declared):
    assert asked[declared.name] - keys(declared.settings) - keys(declared.asks) - of_pruned_days(declared) == set()


def of_pruned_days(declared):
    """What reading pruned days of a raw log again asks for, in the step of one of its readers."""
    logs = [DECLARED[read.asset] for read in declared.reads if DECLARED[read.asset].from_landing]
    return (
        keys(name for log in [*logs, DECLARED["raw.feedback_logs"]] for name in (*log.settings, *log.asks))
        if logs
        else set()
    )


@pytest.mark.parametrize("declared", DECLARATIONS, ids=lambda declared: declared.name)
def test_every_declared_setting_is_asked_for(asked, declared):
    found = asked[declared.name] | SOMETIMES.get(declared.name, set())
    assert [name for name in (*declared.settings, *declared.asks) if not found & keys([name])] == []
