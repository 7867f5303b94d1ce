"""Attention layers for Keras 3."""

from keras_attention.decoding import beam_search, greedy_search, sample
from keras_attention.explain.faithfulness import faithfulness
from keras_attention.explain.flow import attention_flow
from keras_attention.explain.gradients import gradient_times_input, integrated_gradients
from keras_attention.explain.maps import attention_maps
from keras_attention.explain.permutation import permutation_test
from keras_attention.explain.plots import plot_alignment, plot_attention, plot_image_attention
from keras_attention.explain.report import ExplanationReport, explanation_report
from keras_attention.explain.rollout import attention_rollout
from keras_attention.explain.uniform import with_uniform_attention
from keras_attention.export import ExportError, Signature, export_model
from keras_attention.layers.attention_feature_map import AttentionFeatureMap
from keras_attention.layers.attention_gate import AttentionGate
from keras_attention.layers.attention_pooling import AttentionPooling
from keras_attention.layers.channel_attention import ChannelAttention
from keras_attention.layers.content_attention import ContentAttention
from keras_attention.layers.conv_attention_pooling import ConvAttentionPooling
from keras_attention.layers.conv_block_attention import ConvBlockAttention
from keras_attention.layers.hard_selection import HardSelection
from keras_attention.layers.hierarchical_attention import HierarchicalAttention
from keras_attention.layers.local_attention import LocalAttention
from keras_attention.layers.location_attention import LocationAttention
from keras_attention.layers.multi_head_attention import MultiHeadAttention
from keras_attention.layers.position_embedding import PositionEmbedding
from keras_attention.layers.position_embedding_2d import PositionEmbedding2D
from keras_attention.layers.reinforce_loss import ReinforceLoss
from keras_attention.layers.rotary_position_embedding import RotaryPositionEmbedding
from keras_attention.layers.self_attention import SelfAttention
from keras_attention.layers.sinusoidal_position_encoding import SinusoidalPositionEncoding
from keras_attention.layers.sinusoidal_position_encoding_2d import SinusoidalPositionEncoding2D
from keras_attention.layers.spatial_attention import SpatialAttention
from keras_attention.layers.transformer_decoder_block import TransformerDecoderBlock
from keras_attention.layers.transformer_encoder_block import TransformerEncoderBlock
from keras_attention.layers.window_attention_pooling import WindowAttentionPooling
from keras_attention.losses import SequenceCrossentropy
from keras_attention.memory.policy import query_blocks
from keras_attention.metrics import Perplexity, TokenAccuracy
from keras_attention.recurrent.adaptive_attention import AdaptiveAttention
from keras_attention.recurrent.attention_decoder import AttentionDecoder
from keras_attention.recurrent.base import RecurrentAttention
from keras_attention.recurrent.coverage_attention import CoverageAttention
from keras_attention.recurrent.exportable_rnn import ExportableRNN
from keras_attention.recurrent.from_addons import attention_from_addons
from keras_attention.recurrent.gaussian_mixture_attention import GaussianMixtureAttention
from keras_attention.recurrent.location_sensitive_attention import LocationSensitiveAttention
from keras_attention.recurrent.monotonic_attention import MonotonicAttention
from keras_attention.recurrent.sentinel_gate import SentinelGate
from keras_attention.scores import (
    AdditiveScore,
    ALiBiScore,
    BilinearScore,
    ConcatScore,
    CosineScore,
    DotProductScore,
    DotScore,
    EuclideanScore,
    LocationScore,
    RelativePositionScore,
    ScaledDotScore,
    Score,
    SumScore,
    TanhDotScore,
)

__version__ = "0.2.0"

__all__ = [
    "ALiBiScore",
    "AdaptiveAttention",
    "AdditiveScore",
    "AttentionDecoder",
    "AttentionFeatureMap",
    "AttentionGate",
    "AttentionPooling",
    "BilinearScore",
    "ChannelAttention",
    "ConcatScore",
    "ContentAttention",
    "ConvAttentionPooling",
    "ConvBlockAttention",
    "CosineScore",
    "CoverageAttention",
    "DotProductScore",
    "DotScore",
    "EuclideanScore",
    "ExplanationReport",
    "ExportError",
    "ExportableRNN",
    "GaussianMixtureAttention",
    "HardSelection",
    "HierarchicalAttention",
    "LocalAttention",
    "LocationAttention",
    "LocationScore",
    "LocationSensitiveAttention",
    "MonotonicAttention",
    "MultiHeadAttention",
    "Perplexity",
    "PositionEmbedding",
    "PositionEmbedding2D",
    "RecurrentAttention",
    "ReinforceLoss",
    "RelativePositionScore",
    "RotaryPositionEmbedding",
    "ScaledDotScore",
    "Score",
    "SelfAttention",
    "SentinelGate",
    "SequenceCrossentropy",
    "Signature",
    "SinusoidalPositionEncoding",
    "SinusoidalPositionEncoding2D",
    "SpatialAttention",
    "SumScore",
    "TanhDotScore",
    "TokenAccuracy",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
    "WindowAttentionPooling",
    "attention_flow",
    "attention_from_addons",
    "attention_maps",
    "attention_rollout",
    "beam_search",
    "explanation_report",
    "export_model",
    "faithfulness",
    "gradient_times_input",
    "greedy_search",
    "integrated_gradients",
    "permutation_test",
    "plot_alignment",
    "plot_attention",
    "plot_image_attention",
    "query_blocks",
    "sample",
    "with_uniform_attention",
]
