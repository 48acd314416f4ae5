"""`python -m raptors_prof` is the command raptors-prof."""

import os
import sys

from . import binary

if __name__ == "__main__":
    command = binary.path()
    os.execv(command, [command, *sys.argv[1:]])
