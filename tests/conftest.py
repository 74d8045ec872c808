"""What all tests share."""

from hypothesis import settings

settings.register_profile("minidiff", deadline=None)  # no test is timed: machines are shared and noisy
settings.load_profile("minidiff")
