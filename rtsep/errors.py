"""What a user can cause is raised as one of these, and printed as one line."""

from __future__ import annotations


class Failure(Exception):
    """Something could not be done: one line that says what was given and what to do."""

    exit_code = 1


class WrongCall(Failure):
    """What was asked for does not exist or makes no sense: an unknown name, a bad value."""

    exit_code = 2
