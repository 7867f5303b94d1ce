"""What a classifier of documents says of one: its sentences, its words, and what each counted."""

import dataclasses

import numpy as np

from recipes.text import classifier, wordpiece
from recipes.text.sentences import PARAGRAPH, mark_paragraphs


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model says of a document.

    Attributes:
        label: String.
        probability: Float, of the label.
        probabilities: Float array, of all labels.
        words, sentences: Pairs of a list of spans `(start, end)` in characters, and a list of
            floats, the share of each in the decision.
        sentence_labels: List of strings, what each sentence says by itself; empty if the model does
            not tell.
    """

    label: str
    probability: float
    probabilities: np.ndarray
    words: tuple
    sentences: tuple
    sentence_labels: list

    @property
    def heading(self):
        """String, the label and its probability."""
        return f"{self.label} {self.probability:.3f}"

    def shown(self, text):
        """The heading, the text shaded for standard output, and the main sentences."""
        from keras_attention.explain.highlight import shade

        shaded = shade(text, *self.words, self.sentences)
        return "\n".join([self.heading, shaded, *self.main_sentences(text), ""])

    def main_sentences(self, text, count=3):
        """Lines with the sentences of the largest weights."""
        spans, weights = self.sentences
        for index in np.argsort(weights)[::-1][:count]:
            start, end = spans[index]
            if weights[index] > 0:
                sentence = " ".join(text[start:end].split())
                label = f"{self.sentence_labels[index]}: " if self.sentence_labels else ""
                yield f"  {weights[index]:.2f}  {label}{sentence}"


def answer(reader, text):
    """The `Answer` to a text.

    Args:
        reader: `recipes.text.classifier.Reader` of a model with the outputs `grid`, `words`,
            `sentences` and perhaps `evidence`.
        text: String.
    """
    marked = mark_paragraphs(text)  # of the same length
    label, probability, outputs = reader(marked)
    is_piece = outputs["grid"] > 0
    shares = outputs["words"] * outputs["sentences"][:, None]
    # The pieces in the grid, row by row, are those of the text.
    _, pieces = wordpiece.piece_spans(reader.tokenizer, marked)
    lengths = is_piece.sum(1)
    ends = np.cumsum(lengths)
    spans = [
        (pieces[end - length][0], pieces[end - 1][1])
        for length, end in zip(lengths, ends, strict=True)
        if length
    ]
    has_pieces = lengths > 0
    said = outputs["evidence"][has_pieces].argmax(1) if "evidence" in outputs else []
    return Answer(
        label,
        probability,
        outputs["probability"],
        reader.words(marked, shares[is_piece]),
        (spans, outputs["sentences"][has_pieces].tolist()),
        [reader.labels[index] for index in said],
    )


def card(config, data, section, recipe):
    """The words of the model card, with a section of its own for the classes.

    Args:
        config: A `recipes.document_classification.Config`.
        data: `recipes.data.texts.LabelledTexts`.
        section: Dict, as `classifier.described` returns it.
        recipe: String, the recipe's name.
    """
    use = (
        classifier.how_to_use(config, f"python -m recipes.{recipe} predict FOLDER --file DOCUMENT")
        + f" The model splits sentences itself; tokenizers do not see empty lines, so first put a "
        f"{PARAGRAPH} where one ends, as `recipes.text.sentences.mark_paragraphs` does. `grid` "
        "holds the ids in sentences, one per row, in step with `words`."
    )
    if config.encoder != "ngrams":
        return {**classifier.words_of_encoder(config, data), **section, "How to use": use}
    runs = f" and runs of up to {config.order} word pieces" if config.order > 1 else ""
    return {
        "What it does": (
            f"Tells which of {', '.join(data.labels)} a text is, how sure it is, how much each "
            "sentence counted (`sentences` sums to one), and how much each word piece did in its "
            "sentence (`words` sums to one in each). The `evidence` of all sentences sums to what "
            "decides."
        ),
        "Limits": (
            f"It knows words{runs}, and what surrounds them moves how much they count, not what "
            "they say. It learned from one kind of text and is worse on others, also on later ones "
            "of the same kind. A word that it has never seen counts for nothing, and a text "
            "without any known word gets the frequencies of the labels. Its sentences are those of "
            "a simple rule. It must not decide about people."
        ),
        **section,
        "How to use": use,
    }
