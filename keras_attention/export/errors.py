"""The error of exports."""


class ExportError(RuntimeError):
    """Raised if a model cannot be exported, or a written form computes something else."""
