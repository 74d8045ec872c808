"""The graded exercises: `check` in a learner's notebook, `minidiff grade` for the teacher."""

from .checking import check

__all__ = ["check"]
