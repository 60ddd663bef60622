from datetime import date

import pytest

from alignrec_assets.assets.checkpoints import alignment_options
from alignrec_assets.home import Home
from alignrec_assets.settings.schema import RETIRED
from alignrec_assets.settings.sources import (
    SettingsError,
    describe_settings,
    load_settings,
    masked,
    update_settings_file,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("ALIGNREC_HOME", "ALIGNREC_CANDIDATES__K", "ALIGNREC_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    home = Home(tmp_path)
    home.create()
    return home


def origins(home):
    return {name: (value, origin) for name, value, origin in describe_settings(home)}


def test_every_value_tells_where_it_comes_from(home, monkeypatch):
    home.settings.write_text('profile = "study"\n[candidates]\nk = 4\nseed = 9\n')
    monkeypatch.setenv("ALIGNREC_CANDIDATES__K", "5")
    found = origins(home)
    assert found["candidates.k"] == (5, "environment ALIGNREC_CANDIDATES__K")
    assert found["candidates.seed"] == (9, "settings.toml")
    assert found["interests.clusters"] == (64, "profile study")
    assert found["candidates.temperature"][1] == "default"
    assert found["profile"] == ("study", "settings.toml")


def test_a_file_value_wins_over_the_profile_and_leaves_its_neighbours(home):
    home.settings.write_text('profile = "reference"\n[candidates]\ntemperature = 2.0\n')
    settings = load_settings(home)
    assert settings.candidates.temperature == 2.0
    assert settings.candidates.k == 5
    assert settings.interests.clusters == 761


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[candidates]\nk = 0\n", r"candidates\.k.*greater than or equal to 1.*it is 0"),
        ("[candidates]\nkk = 3\n", r"candidates\.kk"),
        ("[nonsense]\nk = 3\n", "nonsense"),
        ("[novelty]\nmaximum_examples = 8000\n", r"novelty\.maximum_examples.*less than 8000"),
        ('[novelty]\ntune = "some"\n', r"novelty\.tune"),
        ('[feedback]\nsource = "guess"\n', r"feedback\.source"),
        ("[interests]\nclusters = 4\n", r"interests\.clusters = 4 is too few"),
        ("[calendar]\nfirst_day = 2026-01-05\nlast_day = 2026-01-01\n", "lies before"),
        ("k = = 3\n", r"settings\.toml is not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place_and_the_mend(home, text, message):
    home.settings.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(home)
    assert str(home.settings) in str(caught.value)


def test_a_misspelt_variable_is_no_default(home, monkeypatch):
    monkeypatch.setenv("ALIGNREC_CANDIDATE__K", "5")
    with pytest.raises(SettingsError, match="ALIGNREC_CANDIDATE__K"):
        load_settings(home)


def test_updating_keeps_comments_and_other_values(home):
    home.settings.write_text("# mine\n[candidates]\nk = 4 # four\n")
    update_settings_file(home, {"calendar": {"first_day": date(2026, 1, 5)}, "candidates": {"seed": 2}})
    text = home.settings.read_text()
    assert "# mine" in text
    assert "k = 4 # four" in text
    settings = load_settings(home)
    assert (settings.candidates.k, settings.candidates.seed) == (4, 2)
    assert settings.calendar.first_day == date(2026, 1, 5)


@pytest.mark.parametrize("normalisation", ["quantile", "rate", "z_score", "lift"])
def test_a_stack_is_a_matter_of_its_own_setting_whatever_the_normalisation(home, normalisation):
    update_settings_file(home, {"feedback": {"normalisation": normalisation}})
    assert alignment_options(load_settings(home)).stack
    update_settings_file(home, {"alignment": {"stack": False}})
    assert not alignment_options(load_settings(home)).stack


def test_scores_are_quantiles_by_default_and_rounded_by_their_posteriors(home):
    feedback = load_settings(home).feedback
    assert (feedback.normalisation, feedback.interval) == ("quantile", "auto")


@pytest.mark.parametrize(
    "text",
    [
        '[remote]\nlanding = "s3://KEY:se/cret@bucket/landing"\n',
        '[remote]\naws_secret_access_key = "se/cret"\n',
        'aws_secret_access_key = "se/cret"\n',
    ],
)
def test_a_secret_that_stands_in_the_file_is_refused_and_not_repeated(home, text):
    home.settings.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert "se/cret" not in str(caught.value)


def test_what_stands_before_a_host_is_not_shown():
    assert masked("https://me:se/cret@host/model") == "https://***@host/model"
    assert masked("s3://bucket/prefix") == "s3://bucket/prefix"
    assert masked(None) == "None"


SETTINGS_TEXT = "# mine\n[candidates]\nk = 4 # é\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_settings_file_of_any_editor_is_read_and_changed(home, encoding, line_end, comes_out):
    text = SETTINGS_TEXT.replace("\n", line_end)
    content = b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding)
    home.settings.write_bytes(content)
    assert load_settings(home).candidates.k == 4
    assert origins(home)["candidates.k"] == (4, "settings.toml")
    update_settings_file(home, {"interests": {"clusters": 12}})
    assert (load_settings(home).candidates.k, load_settings(home).interests.clusters) == (4, 12)
    assert home.settings.read_bytes().startswith(b"# mine")
    comes_out("text files", f"settings.toml as {encoding}, lines ended by {line_end!r}", "read like any other")


def test_a_settings_file_that_is_no_text_is_refused_with_its_line(home):
    home.settings.write_bytes(b"[candidates]\nk = 4 # caf\xe9\n")
    for use in (load_settings, lambda home: update_settings_file(home, {})):
        with pytest.raises(SettingsError, match=r"settings\.toml, line 2, is not UTF-8: save the file as UTF-8"):
            use(home)


def test_many_wrong_settings_make_one_short_message(home):
    home.settings.write_text("[candidates]\n" + "".join(f"wrong_{number} = 1\n" for number in range(3_000)))
    with pytest.raises(SettingsError, match="and 2,995 more") as caught:
        load_settings(home)
    assert len(str(caught.value)) < 2_500


def test_a_setting_of_an_older_version_may_stay_in_the_file(home):
    home.settings.write_text("[alignment]\nsteps = 48\nepochs = 2.0\n", encoding="utf-8")
    assert load_settings(home).alignment.epochs == 2.0
    update_settings_file(home, {"alignment": {"seed": 3}})
    assert "steps = 48" in home.settings.read_text(encoding="utf-8")
    for old, new in RETIRED.items():
        names = [name for name, *_ in describe_settings(home)]
        assert new in names
        assert old not in names
