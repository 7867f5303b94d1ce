"""What an export raises when it cannot keep its promise."""


class ExportError(RuntimeError):
    """A model that cannot be exported, or a written form that computes something else."""
