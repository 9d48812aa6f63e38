"""kill -9 in a child, at any statement of some work; the parent asks what is left.

Imported by the processes that tests start, once Django is set up.
"""

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import connection

Work = Callable[[], object]


def child(work: Work) -> int:
    """Do *work* in a child; return how it ended, as ``waitpid`` has it, 0 if well."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def do_killed_at(number: int, work: Work) -> None:
    """Do *work* up to its statement *number*, counted from 1, and die before it."""
    seen = 0

    def wrap(execute: Any, *statement: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*statement)

    with connection.execute_wrapper(wrap):
        work()


def at_each_statement(begin: Callable[[int], object], mend: Work) -> int:
    """Let *begin* die at each statement in turn, each mended; return how many there are."""
    number = 1
    while status := child(partial(begin, number)):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        assert child(mend) == 0, f"after a kill at statement {number}"
        number += 1
    return number - 1
