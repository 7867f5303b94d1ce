// A text whose words, and perhaps sentences, are shaded by weight: the colours of
// `keras_attention/explain/highlight.py`.

const GREEN = [120, 200, 120];
const BLUE = [150, 195, 250];
const WHITE = [255, 255, 255];

/**
 * Fills an element with a text.
 *
 * @param {Element} element
 * @param {string} text
 * @param {{start: number, end: number, weight: number}[]} words In order and without overlap. The
 *     largest weight gets the full colour.
 * @param {{start: number, end: number, weight: number}[]} sentences Likewise; blue, behind words.
 * @param {number} unread From where on the text was not read, which is grey.
 */
export function shade(element, text, words, sentences = [], unread = text.length) {
  const wordAt = spanFinder(words);
  const sentenceAt = spanFinder(sentences);
  const edges = [...words, ...sentences].flatMap(({start, end}) => [start, end]);
  const sorted = [...new Set([0, unread, text.length, ...edges])].sort((a, b) => a - b);
  const parts = sorted.slice(0, -1).map((start, index) => {
    const part = text.slice(start, sorted[index + 1]);
    const [word, sentence] = [wordAt(start), sentenceAt(start)];
    if (start >= unread) {
      return Object.assign(document.createElement("span"), {className: "unread", textContent: part});
    }
    return word || sentence ? mark(part, word, sentence) : part;
  });
  element.replaceChildren(...parts);
}

function mark(part, word, sentence) {
  let colour = WHITE;
  const labels = [];
  if (sentence) {
    colour = blend(colour, BLUE, sentence.share);
    labels.push(`sentence ${short(sentence.weight)}`);
  }
  if (word) {
    colour = blend(colour, GREEN, word.share);
    labels.unshift(short(word.weight));
  }
  const element = document.createElement("mark");
  element.textContent = part;
  element.title = labels.join(", ");
  element.style.backgroundColor = `rgb(${colour.map(Math.round).join(" ")})`;
  return element;
}

/** A function to the span at a position, with its share of the largest weight. */
function spanFinder(spans) {
  const largest = Math.max(0, ...spans.map(({weight}) => weight)) || 1;
  let next = 0;
  return (position) => {
    while (next < spans.length && spans[next].end <= position) {
      next += 1;
    }
    const span = spans[next];
    return span && span.start <= position ? {...span, share: span.weight / largest} : null;
  };
}

function blend(colour, full, share) {
  return colour.map((value, index) => value + (full[index] - value) * share);
}

/** Three significant digits. */
function short(weight) {
  return String(Number(weight.toPrecision(3)));
}
