"""What Cinder's code asks of its surroundings, read from its syntax trees.

From the functions with which a request begins, it follows each call to the functions of Cinder that it can
lead to, taken or not, and notes each attribute, key and call of an expression that stands for a stand-in.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One question: `what` (an attribute, or a key in brackets) of the stand-in `of`, by a function.

    `call` has the numbers of arguments by position and the names of the others, if it is called with such
    that can be told.
    """

    of: str
    what: str
    by: str
    call: tuple[int, tuple[str, ...]] | None = None


class Running(ast.NodeTransformer):
    """Takes away what does not run with a function: decorators and annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list, node.returns = [], None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return self.generic_visit(ast.Expr(node.value or ast.Constant(None)))


@dataclass
class Walk:
    """Follows Cinder's functions, as they are now: what is replaced is not Cinder's, and is not followed.

    `expressions`: which stand-in an expression is (`self.driver` is `driver`), where its first name is local;
    `names`: where it is global. `objects`: the class of an expression that is an object with Cinder's own
    code. `ends`: functions to which nothing simulated leads.
    """

    expressions: Mapping[str, str]
    names: Mapping[str, str]
    objects: Mapping[str, type]
    ends: Mapping[str, str]
    asked: set[Asked] = field(default_factory=set)
    seen: set[tuple[str, type | None]] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def follow(self, function: Any, owner: type | None = None) -> None:
        """Note what a function asks, and follow its calls; `owner`: the class of its `self`."""
        function = inspect.unwrap(function)
        if not isinstance(function, FunctionType) or not function.__module__.startswith("cinder"):
            return
        name = f"{function.__module__}:{function.__qualname__}"
        if name in self.ends:
            self.ended.add(name)
            return
        if (name, owner) in self.seen:
            return
        self.seen.add((name, owner))
        tree = Running().visit(ast.parse(textwrap.dedent(inspect.getsource(function))))
        table = _locals(function.__code__)
        texts = {text: of for text, of in self.expressions.items() if text.partition(".")[0] in table}
        texts |= {text: of for text, of in self.names.items() if text.partition(".")[0] not in table}
        called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                self._attribute(node, called.get(id(node)), texts, function, owner)
            elif isinstance(node, ast.Name):
                self._go(function.__globals__.get(node.id), None)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                self._key(node.value, node.slice, texts, name)

    def _attribute(
        self,
        node: ast.Attribute,
        call: ast.Call | None,
        texts: Mapping[str, str],
        function: FunctionType,
        owner: type | None,
    ) -> None:
        text, by = ast.unparse(node.value), f"{function.__module__}:{function.__qualname__}"
        if text in texts:
            if call and node.attr == "get" and call.args:
                self._key(node.value, call.args[0], texts, by)
            self.asked.add(Asked(texts[text], node.attr, by, _numbers(call)))
        elif text == "self" and owner is not None:
            if hasattr(owner, node.attr):
                self._go(inspect.getattr_static(owner, node.attr), owner)
            else:
                self.asked.add(Asked(owner.__name__, node.attr, by))
        elif text.startswith("super(") and owner is not None:
            for parent in owner.__mro__:
                if node.attr in vars(parent):
                    self._go(vars(parent)[node.attr], owner)
        elif text in self.objects:
            self._go(getattr(self.objects[text], node.attr, None), self.objects[text])
        else:
            module = _resolved(node.value, function.__globals__)
            if isinstance(module, ModuleType | type):
                self._go(getattr(module, node.attr, None), None)

    def _key(self, value: ast.expr, key: ast.expr, texts: Mapping[str, str], by: str) -> None:
        of = texts.get(ast.unparse(value))
        if of and isinstance(key, ast.Constant) and isinstance(key.value, str):
            self.asked.add(Asked(of, f"[{key.value}]", by))

    def _go(self, found: Any, owner: type | None) -> None:
        if isinstance(found, property):
            found = found.fget
        if isinstance(found, staticmethod | classmethod):
            found = found.__func__
        if isinstance(found, FunctionType):
            self.follow(found, owner)


def _locals(code: CodeType) -> set[str]:
    """The names of a function that are not global, with those of the functions inside of it."""
    inside = [each for each in code.co_consts if isinstance(each, CodeType)]
    own = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
    return own.union(*(_locals(each) for each in inside))


def _resolved(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The module or class of Cinder that a dotted name is; None: it is none."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _resolved(node.value, names)
        return getattr(base, node.attr, None) if isinstance(base, ModuleType) else None
    return None


def _numbers(call: ast.Call | None) -> tuple[int, tuple[str, ...]] | None:
    if call is None or any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    names = [keyword.arg for keyword in call.keywords]
    if None in names:
        return None
    return len(call.args), tuple(sorted(str(name) for name in names))


def fits(function: Callable[..., Any], call: tuple[int, tuple[str, ...]]) -> bool:
    """Whether a function takes a call with so many arguments and such names."""
    try:
        inspect.signature(function).bind(*range(call[0]), **dict.fromkeys(call[1]))
    except TypeError:
        return False
    return True


def lacking(asked: Iterator[Asked], standins: Mapping[str, Any]) -> dict[str, set[str]]:
    """What stand-ins do not have, `stand-in.attribute` or `stand-in[key]`, and who asks for it."""
    found: dict[str, set[str]] = {}
    for each in asked:
        of = standins[each.of]
        if each.what.startswith("["):
            there = _has_key(of, each.what[1:-1])
            name = f"{each.of}{each.what}"
        else:
            there, name = hasattr(of, each.what), f"{each.of}.{each.what}"
            if there and each.call is not None and not fits(getattr(of, each.what), each.call):
                there, name = False, f"{name}{each.call}"
        if not there:
            found.setdefault(name, set()).add(each.by)
    return found


def _has_key(of: Any, key: str) -> bool:
    return key in of if isinstance(of, dict) else hasattr(of, key)
