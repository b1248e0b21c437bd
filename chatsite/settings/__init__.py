"""Settings of the project, read from the environment.

Every variable has a working default, so a bare checkout runs. If a value is invalid, the site does not start, and the error
names the variable. The table in README.md lists all variables, and a test compares the two.
"""

from .accounts import *  # noqa: F403
from .chat import *  # noqa: F403
from .environment import env
from .site import *  # noqa: F403

# Nothing else may read the environment.
env.seal()
