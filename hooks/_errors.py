"""Every error that `steer` raises on purpose.

    SteerError
    ├── DataError       a file, row or pair that cannot be used
    ├── DownloadError   a download that failed, or is not the pinned file
    ├── ModelError      a model that cannot be loaded or understood
    ├── PlanError       a plan that is broken, or does not fit the model
    ├── RunError        a run that cannot go on or be continued
    ├── SiteError       a site that the model does not have
    └── TaskError       a task, method or metric that does not exist

Each is a `ValueError` or `RuntimeError` as well, so callers may catch the built-in kind.
A message says who complains, what arrived, what is accepted and how to fix it.
"""


class SteerError(Exception):
    """Base of every error raised on purpose by `steer`."""


class DataError(SteerError, ValueError):
    """A file, row or pair that cannot be used."""


class DownloadError(SteerError, RuntimeError):
    """A download that failed, or that is not the pinned file."""


class ModelError(SteerError, ValueError):
    """A model that cannot be loaded or understood."""


class PlanError(SteerError, ValueError):
    """A plan that is broken, or that does not fit the model."""


class RunError(SteerError, RuntimeError):
    """A run that cannot go on, or cannot be continued."""


class SiteError(SteerError, ValueError):
    """A site that the model does not have."""


class TaskError(SteerError, ValueError):
    """A task, method or metric that does not exist."""
