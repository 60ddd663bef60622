"""Mutants of Python: mutmut's operators, where a fault in them changes what is computed, not what is told."""

from collections.abc import Iterable, Iterator

import libcst as cst
from libcst.metadata import MetadataWrapper
from mutmut.mutation import mutators
from mutmut.mutation.file_mutation import MutationVisitor, deep_replace
from mutmut.mutation.pragma_handling import IgnoredCode

# Arguments that have no faults: `strict` refuses what no caller gives, and `dtype` chooses how values are stored (13 of
# the 59 survivors of models/feedback were its, and not one of them changed a value).
GUARDS = ("strict", "dtype")


def without_one_named_argument(call: cst.Call) -> Iterable[cst.Call]:
    """A call without one of its keyword arguments, whose default then holds."""
    for at, argument in enumerate(call.args):
        if argument.keyword and argument.keyword.value not in GUARDS:
            yield call.with_changes(args=[*call.args[:at], *call.args[at + 1 :]])


OPERATORS = (
    (cst.BaseNumber, mutators.operator_number),
    (cst.Name, mutators.operator_name),
    (cst.UnaryOperation, mutators.operator_remove_unary_ops),
    (cst.AugAssign, mutators.operator_augmented_assignment),
    (cst.Call, without_one_named_argument),
    (cst.CSTNode, mutators.operator_keywords),
    (cst.CSTNode, mutators.operator_swap_op),
    (cst.IfExp, mutators.operator_if_exp),
)


class _InFunctions(MutationVisitor):
    """Leaves out guards, and what is only told: messages of errors and of the log."""

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Arg) and node.keyword and node.keyword.value in GUARDS:
            return False
        told = isinstance(node, cst.Raise) or (isinstance(node, cst.Call) and _name(node.func) in ("log", "Progress"))
        return not told and super().on_visit(node)


def python_mutants(text: str) -> Iterator[str]:
    """The text with one fault in a function each. Constants, and functions with decorators of their own, stay."""
    wrapper = MetadataWrapper(cst.parse_module(text))
    visitor = _InFunctions(OPERATORS, IgnoredCode(set(), set(), set()))
    module = wrapper.visit(visitor)
    for mutation in visitor.mutations:
        if mutation.contained_by_top_level_function is not None:
            mutated = deep_replace(module, mutation.original_node, mutation.mutated_node)
            yield cst.ensure_type(mutated, cst.Module).code


def _name(called: cst.BaseExpression) -> str:
    return called.attr.value if isinstance(called, cst.Attribute) else getattr(called, "value", "")
