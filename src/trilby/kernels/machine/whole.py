"""How the functions of a kernel are compiled: apart as far as they must be, and then as one.

numba optimises every function that it compiles together with all that the function calls, and makes
machine code of it. Functions inside a kernel are not called from outside, and a function that is
called through five others would be optimised six times. So machine code is made of the kernel
alone, and only functions near the end of the calls are optimised before they come into it.
"""

from functools import cache
from typing import Any

ALONE = 2
"""Up to how many levels of calls a function is optimised before it comes into those that call it.

With fewer, the walks of decay's gradient come into the kernel as they were written, and the kernel
takes a twentieth longer to run.
"""


@cache
def pipeline() -> Any:
    """The pipeline of numba for functions that only kernels call.

    It takes about half the time. It needs private names of numba. Where one of them is missing it
    is numba's own.
    """
    from numba.core.compiler import Compiler

    try:
        from numba._dynfunc import make_function
        from numba.core.codegen import JITCodeLibrary

        _ = JITCodeLibrary._optimize_final_module, JITCodeLibrary._finalize_final_module
    except (ImportError, AttributeError):
        return Compiler

    class Part(JITCodeLibrary):
        """A function, with those that it calls, that becomes no machine code by itself."""

        def _optimize_final_module(self) -> None:
            below = [getattr(library, "levels", 0) for library in self._linking_libraries]
            self.levels = 1 + max(below, default=0)
            if self.levels <= ALONE:
                super()._optimize_final_module()

        def _finalize_final_module(self) -> None:
            self._finalized = True

    def known(library: Part, name: Any, environment: Any) -> Any:
        """What callers know a function by, without an entry from Python."""
        short, kept = name.qualname.rpartition(".")[2], (library,)
        return make_function(name.lookup_module(), short, "", 0, environment, kept)

    class Inside(Compiler):
        def define_pipelines(self) -> list[Any]:
            state = self.state
            state.library = Part(state.targetctx.codegen(), state.func_id.func_qualname)
            state.targetctx.get_executable = known  # a context of this function alone
            return super().define_pipelines()

    return Inside
