"""`keras-attention export`: SavedModel and TFLite files that compute what the model does."""

import keras_attention as ka
from keras_attention_command.errors import UserError
from keras_attention_command.files import joined, load_model, read_samples
from keras_attention_command.table import table


def run(arguments):
    """Exports the model and prints the report."""
    model = load_model(arguments.model, arguments.modules)
    samples = joined(read_samples(arguments.samples, model))
    try:
        report = ka.export_model(
            model, arguments.output, samples, formats=tuple(dict.fromkeys(arguments.forms))
        )
    except (ka.ExportError, ImportError, ValueError) as error:
        raise UserError(error) from error
    except OSError as error:
        raise UserError(f"Cannot write to {arguments.output}: {error.strerror or error}") from error
    print(_table(report))
    print(f"Wrote {arguments.output}")


def _table(report):
    rows = [("form", "file", "bytes", "difference", "agreement", "ms")]
    for form, entry in report["forms"].items():
        figures = entry["signatures"]["serving_default"]
        rows.append(
            (
                form,
                entry.get("file", ""),
                _number(entry.get("bytes"), ",d"),
                _number(figures["difference"], ".1e"),
                _number(figures["agreement"], ".4f"),
                _number(figures.get("milliseconds"), ".3g"),
            )
        )
    return table(rows, left=2)


def _number(value, form):
    return "" if value is None else format(value, form)
