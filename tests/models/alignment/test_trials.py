"""What trials choose from."""

from dataclasses import replace

from support.options import ALIGNMENT

from models.alignment.trials import SearchOptions, search_space

STANDING = replace(
    ALIGNMENT, tune="top:1", learning_rate=3e-3, epochs=1.0, histories_per_batch=4, looks_per_epoch=4, head_histories=8
)


def test_the_space_holds_what_stands_and_no_more_layers_than_there_are():
    odd = SearchOptions("rate", replace(STANDING, tune="top:7", learning_rate=0.5, epochs=0.3), 1, None, 0)
    space = search_space(odd, layers=12)
    assert space["tune"].choices == ("full", "lora", "top:10", "top:4", "top:7")
    assert (space["learning_rate"].low, space["learning_rate"].high) == (3e-5, 0.5)
    assert space["epochs"].choices == (0.15, 0.3, 0.6)


def test_a_stack_learns_raw_rates_so_its_trials_share_one_normalisation():
    chosen = {stack: SearchOptions("quantile", replace(STANDING, stack=stack), 1, None, 0) for stack in (False, True)}
    found = {stack: search_space(options, layers=12)["normalisation"].choices for stack, options in chosen.items()}
    assert found == {False: ("quantile", "rate", "z_score", "lift"), True: ("quantile",)}
