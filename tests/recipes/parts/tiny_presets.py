"""Pretrained encoders as folders lay them out: tiny, random, and written by KerasHub."""

import keras_hub

PIECES = "[PAD] [unused] [UNK] [CLS] [SEP] [MASK] . ! ? it is was the soup good bad not a".split()
SIZES = {
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 32,
}


def save_bert(folder, pieces=PIECES):
    """A preset of BERT's kind for texts of up to 30 pieces; returns its backbone."""
    backbone = keras_hub.models.BertBackbone(vocabulary_size=len(pieces), **SIZES)
    backbone.save_to_preset(str(folder))
    keras_hub.tokenizers.BertTokenizer(list(pieces), lowercase=True).save_to_preset(str(folder))
    return backbone


def save_distilbert(folder):
    """The same of DistilBERT's kind, which has no segments and one output."""
    backbone = keras_hub.models.DistilBertBackbone(vocabulary_size=len(PIECES), **SIZES)
    backbone.save_to_preset(str(folder))
    tokenizer = keras_hub.tokenizers.DistilBertTokenizer(list(PIECES), lowercase=True)
    tokenizer.save_to_preset(str(folder))
    return backbone


def save_roberta(folder):
    """A preset of RoBERTa's kind, whose pieces are bytes."""
    backbone = keras_hub.models.RobertaBackbone(vocabulary_size=7, **SIZES)
    backbone.save_to_preset(str(folder))
    vocabulary = {name: i for i, name in enumerate("<s> <pad> </s> a b ab <mask>".split())}
    keras_hub.tokenizers.RobertaTokenizer(vocabulary, ["a b"]).save_to_preset(str(folder))
