"""What trials choose from."""

from dataclasses import replace

from support.options import ALIGNMENT

from models.alignment.trials import SearchOptions, search_space

STANDING = replace(
    ALIGNMENT, tune="top:1", learning_rate=3e-3, steps=4, histories_per_batch=4, evaluate_every=1, head_histories=8
)


def test_the_space_holds_what_stands_and_no_more_layers_than_there_are():
    odd = SearchOptions("rate", replace(STANDING, tune="top:7", learning_rate=0.5, steps=1), 1, None, 0)
    space = search_space(odd, layers=12)
    assert space["tune"].choices == ("full", "lora", "top:10", "top:4", "top:7")
    assert (space["learning_rate"].low, space["learning_rate"].high) == (3e-5, 0.5)
    assert space["steps"].choices == (1, 2)


def test_a_stack_learns_raw_rates_so_its_trials_share_one_normalisation():
    chosen = {stack: SearchOptions("quantile", replace(STANDING, stack=stack), 1, None, 0) for stack in (False, True)}
    found = {stack: search_space(options, layers=12)["normalisation"].choices for stack, options in chosen.items()}
    assert found == {False: ("quantile", "rate", "z_score", "lift"), True: ("quantile",)}
