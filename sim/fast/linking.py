"""One piece of machine code for each entry, in place of one for each function.

Numba optimizes and assembles each compiled function together with all that it calls, so what lies deep in
calls is optimized once for each function above it: most of the time that compiling took. Here a function
that only compiled code calls stays LLVM's code, a `Part`. A `Whole`, the entry that Python calls, links all
parts that it reaches, and is optimized and assembled once.
"""

from __future__ import annotations

from typing import Any

from llvmlite.binding import Linkage, parse_assembly
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import IRLegalization


class NoMachineCode:
    """What Numba asks about the machine code of a part: there is none, so there is nothing to set in it."""

    def set_env(self, name: str, environment: Any) -> None:
        """Numba's environment is for Python's objects, which parts do not have."""


class Part(JITCodeLibrary):
    """The LLVM code of one function, without what it calls: only a `Whole` may link it."""

    codegen = NoMachineCode()

    def finalize(self) -> None:
        """End it as it is: neither optimized nor assembled."""
        self._raise_if_finalized()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Give 0, Numba's word for a function without machine code."""
        self._ensure_finalized()
        return 0


class Whole(JITCodeLibrary):
    """The machine code of an entry and of all that it calls."""

    _linking_libraries: list[JITCodeLibrary]

    def finalize(self) -> None:
        """Link the parts that are reached, then optimize and assemble all."""
        reached: dict[JITCodeLibrary, None] = {}
        waiting = list(self._linking_libraries)
        while waiting:
            library = waiting.pop()
            if library not in reached:
                reached[library] = None
                if isinstance(library, Part):
                    waiting += library._linking_libraries
        self._linking_libraries = list(reached)
        super().finalize()

    def serialize_using_object_code(self) -> tuple[str, str, tuple[bytes, bytes]]:
        """Give what a file keeps: the machine code, and the names that it defines.

        The names stand in place of LLVM's code. Nothing links an entry, so a start would read that code for
        the names alone.
        """
        names = [
            function.name for function in self.get_defined_functions() if function.linkage == Linkage.external
        ]
        code = parse_assembly("\n".join(f'define void @"{name}"() {{ ret void }}' for name in names))
        return self.name, "object", (self._get_compiled_object(), code.as_bitcode())

    def _optimize_final_module(self) -> None:
        # Nothing outside calls a part: what is inlined everywhere can go.
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal
        # LLVM's passes at once, without Numba's for reference counts, which come before: there are none.
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _Into(LoweringPass):
    """Choose the library that a function is lowered into."""

    library: type[JITCodeLibrary]

    def __init__(self) -> None:  # abstract in Numba
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return False


@register_pass(mutates_CFG=False, analysis_only=False)
class _IntoPart(_Into):
    _name = "into_part"
    library = Part


@register_pass(mutates_CFG=False, analysis_only=False)
class _IntoWhole(_Into):
    _name = "into_whole"
    library = Whole


def _pipeline(first: type[LoweringPass], state: Any) -> list[Any]:
    passes = DefaultPassBuilder.define_nopython_pipeline(state)
    passes.add_pass_after(first, IRLegalization)
    passes.finalize()
    return [passes]


def one_version(function: Any) -> None:
    """Let a compiled function have one version, not one for each constant or size of a whole number that it
    is called with."""
    template = function.get_call_template

    def plain(kind: Any) -> Any:
        kind = types.unliteral(kind)
        return types.int64 if isinstance(kind, types.Integer) and kind.signed else kind

    def of_plain(args: Any, named: Any) -> Any:
        return template([plain(each) for each in args], {name: plain(each) for name, each in named.items()})

    function.get_call_template = of_plain


class PartCompiler(CompilerBase):
    """Numba's compiler, for functions that compiled ones call."""

    def define_pipelines(self) -> list[Any]:
        """Give the passes."""
        return _pipeline(_IntoPart, self.state)


class WholeCompiler(CompilerBase):
    """Numba's compiler, for entries."""

    def define_pipelines(self) -> list[Any]:
        """Give the passes."""
        return _pipeline(_IntoWhole, self.state)
