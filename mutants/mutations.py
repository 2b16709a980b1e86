"""The mutants of a module: its syntax tree with one small mistake each.

- A comparison is negated, and its limit moved: ``<`` becomes ``<=``.
- ``and`` and ``or`` are exchanged, or lose an operand; ``not`` is dropped; other conditions are negated.
- A number is increased and decreased by one; True and False, ``+`` and ``-``, min() and max() are exchanged.
- A member of an Enum is replaced with the next one. As a value in a dictionary of the module it is replaced with
  every other one, and optional members in its NamedTuples are removed and added. A set of the module loses each of
  its items.
- A result is replaced with None; a statement is removed.

Strings, annotations and assertions are left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple, get_args, get_type_hints

Names = dict[str, Any]  # what the module's global names mean

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
SWAPPED = {"min": "max", "max": "min"}
NEVER_MUTATED = {"annotation", "returns", "decorator_list"}  # fields of nodes
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS = ("body", "orelse", "finalbody", "handlers")
SHORTEST = 16  # characters: what is shorter does not tell where it is


class Mutant(NamedTuple):
    """One change.

    Attributes:
        where: the names of the function around it, and the keys of the table.
        before, after: the expression or statement, without what it contains in blocks.
        lines: the first and the last line of the statement.
        owner, field, position, new: what to assign to make the change; position is None unless the field is a list.
        function: the outermost function around it; None if it is the module's code.
        cell: in a table of the module, its name, the keys, and the node of the value; else None.
    """

    where: str
    before: str
    after: str
    lines: tuple[int, int]
    owner: ast.AST
    field: str
    position: int | None
    new: ast.AST | None
    function: str | None
    cell: tuple[str, tuple[ast.expr, ...], ast.Dict, int] | None

    def swap(self, new: Any) -> Any:
        """Put something into the mutant's place; returns what was there."""
        if self.position is None:
            old = getattr(self.owner, self.field)
            setattr(self.owner, self.field, new)
        else:
            place = getattr(self.owner, self.field)
            old, place[self.position] = place[self.position], new
        return old


class _Place(NamedTuple):
    """Where a node hangs."""

    node: ast.AST
    owner: ast.AST
    field: str
    position: int | None


def mutants_of(tree: ast.Module, names: Names) -> Iterator[Mutant]:
    """All mutants of a module; while the generator waits the tree is as it was."""
    yield from _Finder(names).visit(_Place(tree, tree, "", None), ())


class _Finder:
    def __init__(self, names: Names) -> None:
        self.names = names
        members: dict[type[Enum], list[str]] = {}
        for name, value in names.items():
            if isinstance(value, Enum):
                members.setdefault(type(value), []).append(name)
        self.members = members  # names of the module's for the members of each enumeration

    def visit(self, place: _Place, above: tuple[_Place, ...]) -> Iterator[Mutant]:
        node = place.node
        if isinstance(node, ast.Assert | ast.AnnAssign) and not isinstance(getattr(node, "value", None), ast.expr):
            return
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        path = (*above, place)
        in_function = any(isinstance(each.node, FUNCTIONS) for each in above)
        in_table = any(isinstance(each.node, ast.Dict | ast.Set) for each in above) and not in_function
        in_cell = in_table and any(each.field == "values" and isinstance(each.owner, ast.Dict) for each in path)
        for new in self.replacements(node, in_function, in_table, in_cell):
            yield _mutant(path, new)
        for field, value in ast.iter_fields(node):
            if field in NEVER_MUTATED:
                continue
            if isinstance(value, list):
                for index, each in enumerate(value):
                    if isinstance(node, ast.BoolOp):
                        yield _mutant(path, _without(node, index))
                    if isinstance(node, ast.Set) and not in_function:
                        yield _mutant(path, ast.Set(value[:index] + value[index + 1 :]))
                    if isinstance(each, ast.AST):
                        yield from self.visit(_Place(each, node, field, index), path)
            elif isinstance(value, ast.AST):
                yield from self.visit(_Place(value, node, field, None), path)

    def replacements(self, node: ast.AST, in_function: bool, in_table: bool, in_cell: bool) -> Iterator[ast.AST]:
        match node:
            case ast.Compare(left, [operator], right):
                for other in COMPARISONS[type(operator)]:
                    yield ast.Compare(left, [other()], right)
            case ast.BoolOp(operation, values):
                yield ast.BoolOp(ast.Or() if isinstance(operation, ast.And) else ast.And(), values)
            case ast.UnaryOp(ast.Not(), operand):
                yield operand
            case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
                yield ast.BinOp(left, OPERATORS[type(operator)](), right)
            case ast.AugAssign(target, operator, value) if type(operator) in OPERATORS:
                yield ast.AugAssign(target, OPERATORS[type(operator)](), value)
                yield ast.Pass()
            case ast.Constant(bool() as value):
                yield ast.Constant(not value)
            case ast.Constant(int() | float() as value):
                yield ast.Constant(value + 1)
                yield ast.Constant(value - 1)
            case ast.Call(ast.Name(name), arguments, keywords) if name in SWAPPED:
                yield ast.Call(ast.Name(SWAPPED[name], ast.Load()), arguments, keywords)
            case ast.Call(ast.Name(name)) if in_cell and hasattr(self.names.get(name), "_field_defaults"):
                yield from self.cells(node, self.names[name])
            case ast.Return(ast.expr() as value):
                if not (isinstance(value, ast.Constant) and value.value is None):
                    yield ast.Return(ast.Constant(None))
            case ast.Expr(ast.Constant()):
                pass
            case ast.Expr() | ast.Assign() | ast.Raise() | ast.Return() | ast.Continue() | ast.Break():
                if in_function:
                    yield ast.Pass()
            case ast.If(test) | ast.While(test) | ast.IfExp(test):
                if not isinstance(test, ast.Compare | ast.BoolOp) and not _is_not(test):
                    new = type(node)(**dict(ast.iter_fields(node)))
                    new.test = ast.UnaryOp(ast.Not(), test)
                    yield new
            case ast.Name(name, ast.Load()) | ast.Attribute(attr=name, ctx=ast.Load()):
                others = list(self.others(node))
                if not in_function and not in_table:
                    others = []
                yield from others if in_cell else others[:1]

    def cells(self, call: ast.Call, kind: Any) -> Iterator[ast.Call]:
        """A cell of a table, without each of its optional members of enumerations, and with one that it has not."""
        hints = get_type_hints(kind)
        given = dict(zip(kind._fields, call.args, strict=False))
        given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
        for field, default in kind._field_defaults.items():
            enumerations = [each for each in get_args(hints[field]) if each in self.members]
            if default is None and enumerations:
                values = ["None"] if field in given else self.members[enumerations[0]]
                for value in values:
                    changed = given | {field: ast.Name(value, ast.Load())}
                    yield ast.Call(call.func, [], [ast.keyword(name, node) for name, node in changed.items()])

    def others(self, node: ast.Name | ast.Attribute) -> Iterator[ast.expr]:
        """If the node is a member of an enumeration, the others, beginning with the next."""
        if isinstance(node, ast.Attribute):
            kind = self.names.get(node.value.id) if isinstance(node.value, ast.Name) else None
            if not isinstance(kind, type) or not issubclass(kind, Enum) or node.attr not in kind.__members__:
                return
            names = [member.name for member in kind]
            at = names.index(kind[node.attr].name)
            for name in names[at + 1 :] + names[:at]:
                yield ast.Attribute(node.value, name, ast.Load())
        elif isinstance(self.names.get(node.id), Enum):
            names = self.members[type(self.names[node.id])]
            at = names.index(node.id)
            for name in names[at + 1 :] + names[:at]:
                yield ast.Name(name, ast.Load())


def _mutant(path: tuple[_Place, ...], new: ast.AST) -> Mutant:
    """Describe the change that puts another node in the place of the last one of a path."""
    node, owner, field, position = path[-1]
    ast.copy_location(new, node)
    ast.fix_missing_locations(new)
    statement = next(each for each in reversed(path) if isinstance(each.node, ast.stmt | ast.excepthandler))
    functions = [at for at, each in enumerate(path) if isinstance(each.node, FUNCTIONS)]
    names = [each.node.name for each in path if isinstance(each.node, (*FUNCTIONS, ast.ClassDef))]
    outermost = functions[0] if functions else 0
    function = [each.node.name for each in path[: outermost + 1] if isinstance(each.node, (*FUNCTIONS, ast.ClassDef))]
    # A default of an argument is evaluated by the module.
    inside = bool(functions) and any(each.field == "body" and each.owner is path[outermost].node for each in path)
    cell = None if inside else _cell(path)
    keys = "" if cell is None else "".join(f"[{ast.unparse(key)}]" for key in cell[1])
    where = ".".join(names) if cell is None else cell[0] + keys
    shown = next(
        each
        for each in reversed(path)
        if isinstance(each.node, ast.expr | ast.stmt)
        and (len(_header(each.node)) >= SHORTEST or each.node is statement.node)
    )
    mutant = Mutant(
        where,
        _header(shown.node),
        "",
        _lines(statement.node),
        owner,
        field,
        position,
        new,
        ".".join(function) if inside else None,
        cell,
    )
    old = mutant.swap(new)
    after = _header(new if shown.node is node else shown.node)
    mutant.swap(old)
    return mutant._replace(after=after)


def _cell(path: tuple[_Place, ...]) -> tuple[str, tuple[ast.expr, ...], ast.Dict, int] | None:
    """The innermost dictionary with the change among its values, if it is the value of a name of the module's."""
    keys: list[ast.expr] = []
    found = None
    name = ""
    for outer, inner in pairwise(path):
        match outer.node:
            case ast.Module():
                match inner.node:
                    case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)):
                        pass
                    case _:
                        return None
            case ast.Dict() as table:
                key = table.keys[inner.position] if inner.field == "values" and inner.position is not None else None
                if key is None or inner.position is None:
                    return found
                keys.append(key)
                found = name, tuple(keys), table, inner.position
            case ast.Assign() | ast.AnnAssign():
                if not isinstance(inner.node, ast.Dict):
                    return None
            case _:
                return found
    return found


def _without(node: ast.BoolOp, index: int) -> ast.expr:
    values = node.values[:index] + node.values[index + 1 :]
    return values[0] if len(values) == 1 else ast.BoolOp(node.op, values)


def _is_not(test: ast.expr) -> bool:
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _lines(statement: ast.AST) -> tuple[int, int]:
    """The lines of a statement but for those of its blocks."""
    first, last = statement.lineno, statement.end_lineno or statement.lineno  # type: ignore[attr-defined]
    body = getattr(statement, "body", None)
    return (first, max(first, body[0].lineno - 1)) if body else (first, last)


def _header(node: ast.AST) -> str:
    """The source of an expression, or of a statement without its blocks, in one line."""
    if not any(isinstance(getattr(node, block, None), list) for block in BLOCKS):
        return ast.unparse(node)
    return ast.unparse(node).partition("\n")[0]
