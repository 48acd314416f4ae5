"""The magic command of IPython and Jupyter: `%%raptors_prof` runs a cell and shows its flame graph and top frames."""

from __future__ import annotations

import ast
import os
from typing import Any

from IPython.core.magic import Magics, cell_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import display

from .profiling import Profile, tool_options


@magics_class
class RaptorsProfMagics(Magics):
    """What `%load_ext raptors_prof` adds."""

    @magic_arguments()
    @argument("-o", "--out", help="directory of the result, new or empty; without one it is not kept")
    @argument("--rate", type=int, help="samples a second (997)")
    @argument("--event", help="an event to sample instead of CPU time, such as page-faults")
    @argument("--off-cpu", action="store_true", help="where threads wait, instead of where they compute")
    @cell_magic
    def raptors_prof(self, line: str, cell: str) -> None:
        """Run the cell in a profile, and show that."""
        options = parse_argstring(self.raptors_prof, line)
        name, steps = self._compiled(cell)
        title = f"In [{self.shell.execution_count}]"
        # Of what runs the cell, nothing is of interest.
        root = f"--root-frame=<module> ({os.path.basename(name)}:"
        profiled = Profile(options.out, title, [root, *tool_options(options.rate, options.event, options.off_cpu)])
        try:
            with profiled:
                for step in steps:
                    exec(step, self.shell.user_ns)  # noqa: S102 - it is the user's own
        finally:
            if profiled.done:
                display(profiled)

    def _compiled(self, cell: str) -> tuple[str, list[Any]]:
        """Return the cell's name and its steps, with what IPython understands beyond Python; as in any cell, the value of a last expression is shown."""
        compiler = self.shell.compile
        source = self.shell.transform_cell(cell)
        name = compiler.cache(source)
        body = self.shell.transform_ast(ast.parse(source, name)).body
        last = [body.pop()] if body and isinstance(body[-1], ast.Expr) else []
        return name, [
            compiler(ast.Module(body, type_ignores=[]), name, "exec"),
            compiler(ast.Interactive(last), name, "single"),
        ]
