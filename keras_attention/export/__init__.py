"""Export of Keras models to SavedModel and TFLite, with a check that each form is equal."""

from keras_attention.export.errors import ExportError
from keras_attention.export.export_model import export_model
from keras_attention.export.parity import BOUNDS
from keras_attention.export.signature import Signature

__all__ = ["BOUNDS", "ExportError", "Signature", "export_model"]
