"""SavedModel and TFLite of a Keras model, each with proof that it computes the same."""

from keras_attention.export.errors import ExportError
from keras_attention.export.export_model import export_model
from keras_attention.export.parity import BOUNDS
from keras_attention.export.signature import Signature

__all__ = ["BOUNDS", "ExportError", "Signature", "export_model"]
