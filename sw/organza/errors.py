"""The one exception class that marks an error as the user's to fix."""


class UserError(ValueError):
    """An error the user can fix; the CLI prints it without a traceback."""
