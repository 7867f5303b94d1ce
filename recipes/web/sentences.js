// Sentences of a text of word pieces: the rule of `recipes/text/sentences.py`.

const PARAGRAPH = "¶";
// What Python says of each piece of the vocabulary, one digit a piece.
const OTHER = "0";
const MARK = "1";
const STOP = "2";
const LETTER = "3";
const NUMBER = "4";

/** The text with a mark in place of the line break that ends an empty line. */
export function markParagraphs(text) {
  return text.replace(/(\n[ \t\r]*)\n/g, `$1${PARAGRAPH}`);
}

/**
 * @param {number[]} ids Of a text.
 * @param {string} kinds A digit for each piece of the vocabulary.
 * @param {number} mostWords Pieces in the longest sentence.
 * @returns {number[][]} The sentences.
 */
export function splitSentences(ids, kinds, mostWords) {
  const sentences = [];
  let [before, second] = [OTHER, OTHER];
  for (const id of ids) {
    const kind = kinds[id];
    let ended = isEnd(before) && !isEnd(kind);
    if (before === STOP && (kind === NUMBER || second === LETTER)) {
      ended = false;
    }
    if (ended || !sentences.length || sentences.at(-1).length === mostWords) {
      sentences.push([]);
    }
    sentences.at(-1).push(id);
    [before, second] = [kind, before];
  }
  return sentences;
}

function isEnd(kind) {
  return kind === MARK || kind === STOP;
}
