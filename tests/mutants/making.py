"""Which mutants a module has, and a seeded sample of them. Cosmic Ray makes them; one kind that it lacks is made here."""

import difflib
from dataclasses import dataclass
from random import Random
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator, operator_names
from parso import parse

# `|` stands in types, which nothing asks at run time; `is` for `==` and the reverse mostly mean the same; what is compared by identity
# has no order that means anything; what shifts, divides or multiplies a time is an error at once, which every test notices.
_POINTLESS = (
    *("_BitOr_", "_Eq_Is", "_NotEq_IsNot", "_Is_Eq", "_IsNot_NotEq"),
    *("_Is_Lt", "_Is_Gt", "_IsNot_Lt", "_IsNot_Gt"),
    *("_RShift", "_LShift", "_Pow", "_Mod", "_FloorDiv", "_BitAnd", "_BitXor", "_BitOr"),
)
# Statements without which the module still runs. Without any other it fails at once, and every test notices.
_LEFT_OUT = ("return_stmt", "raise_stmt", "atom_expr", "keyword")


@dataclass(frozen=True)
class Mutant:
    """One change: an operator of Cosmic Ray at the place of that number."""

    operator: Any
    occurrence: int

    def code(self, original: str) -> str:
        """Return the module with the change."""
        return str(mutate_code(original, self.operator, self.occurrence))

    def diff(self, original: str) -> str:
        """Return what changes, as a unified diff without its head."""
        changed = difflib.unified_diff(
            original.splitlines(), self.code(original).splitlines(), n=1, lineterm=""
        )
        return "\n".join(list(changed)[2:])


class StatementRemover(Operator):
    """Leaves out a call, a return, a raise, a continue or a break."""

    def mutation_positions(self, node: Any) -> Any:
        """Yield the place of the statement that may be left out."""
        if node.type == "simple_stmt" and node.children[0].type in _LEFT_OUT and not _does_nothing(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Return `pass` instead of the statement."""
        statement = node.children[0]
        node.children[0] = parse("pass").children[0]
        node.children[0].prefix = statement.get_first_leaf().prefix
        return node

    @classmethod
    def examples(cls) -> Any:
        """Return what it does to a line."""
        return (Example("forget()\n", "pass\n"),)


def sample(original: str, *, most: int, seed: int) -> list[Mutant]:
    """Return at most so many mutants of a module, the same for the same seed. No place of the code has two before each has one."""
    tree, lines = get_ast(original), original.splitlines()
    places: dict[Any, list[Mutant]] = {}
    for operator in (StatementRemover(), *_operators()):
        changes = [(node, place) for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
        for occurrence, (node, place) in enumerate(changes):
            if not _is_for_types(node, lines[place[0][0] - 1]):
                places.setdefault(place, []).append(Mutant(operator, occurrence))
    chance = Random(seed)
    for mutants in places.values():
        chance.shuffle(mutants)
    turns = [
        (turn, chance.random(), mutant) for found in places.values() for turn, mutant in enumerate(found)
    ]
    return [mutant for _turn, _chance, mutant in sorted(turns, key=lambda turn: turn[:2])[:most]]


def _does_nothing(node: Any) -> bool:
    """Return whether the statement is `pass`, or returns nothing where the function would end without it."""
    statement = node.get_code().partition("#")[0].strip()
    if statement not in ("return", "return None"):
        return bool(statement == "pass")
    while node.type != "funcdef":
        inner, node = node, node.parent
        if node is None or node.type in ("for_stmt", "while_stmt", "error_node"):
            return False
        if node.type in ("suite", "file_input") and node.children[-1] is not inner:
            return False
    return True


def _is_for_types(node: Any, line: str) -> bool:
    """Return whether only the type checker sees a change.

    That is what is imported for it, the bare `*` among parameters, and what no code of ours may do to a frozen class or one with slots.
    """
    is_of_class = node.parent.type == "argument" and node.parent.children[0].get_code().strip() in (
        "frozen",
        "slots",
    )
    is_bare = node.type == "operator" and node.parent.type == "parameters"
    return "TYPE_CHECKING" in line or is_bare or is_of_class


def _operators() -> list[Any]:
    kinds = [get_operator(name) for name in operator_names() if not any(word in name for word in _POINTLESS)]
    return [kind() for kind in kinds if not kind.arguments()]
