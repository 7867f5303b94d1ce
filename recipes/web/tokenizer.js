// Word pieces of a text: the ids of `recipes/text/wordpiece.py`, where each word is.
//
// What becomes of each character is looked up in a table that Python wrote. A browser has rules of
// its own (`normalize`, `toLowerCase`, `\p{P}`), but of its own version of Unicode.

const UNKNOWN = "[UNK]";
const MOST_BYTES = 100; // of a word

export class Tokenizer {
  #ids;
  #becomes;
  #kinds;

  /**
   * @param {string[]} pieces The vocabulary.
   * @param {object} characters `characters.json`: of most characters that do not stay as they are
   *     the kind, as ranges of code points; of the others what they become.
   */
  constructor(pieces, characters) {
    this.#ids = new Map(pieces.map((piece, id) => [piece, id]));
    this.#becomes = new Map(Object.entries(characters.becomes));
    this.#kinds = [
      [characters.alone, (character) => ` ${character} `],
      [characters.space, () => " "],
      [characters.dropped, () => ""],
      [characters.syllables, (character) => character.normalize("NFD")],
    ].map(([ranges, become]) => [inRanges(ranges), become]);
  }

  /**
   * @param {string} text
   * @returns {{start: number, end: number, ids: number[]}[]} The words and single signs, from
   *     `start` to `end` in the text; their ids in a row are those of the text.
   */
  encodeWords(text) {
    return this.#words(text).map(({start, end, word}) => ({start, end, ids: this.#pieces(word)}));
  }

  #words(text) {
    const words = [];
    let isOpen = false;
    let position = 0;
    for (const character of text) {
      const start = position;
      position += character.length;
      const becomes = this.#become(character);
      for (const part of becomes) {
        if (part === " ") {
          isOpen = false;
          continue;
        }
        if (!isOpen) {
          words.push({start, end: position, word: ""});
          isOpen = true;
        }
        words.at(-1).word += part;
        words.at(-1).end = position;
      }
      if (becomes === "" && isOpen) {
        words.at(-1).end = position; // an accent belongs to its letter
      }
    }
    return words;
  }

  /** What a character becomes; a space in it ends a word. */
  #become(character) {
    const known = this.#becomes.get(character);
    if (known !== undefined) {
      return known;
    }
    const kind = this.#kinds.find(([isOfIt]) => isOfIt(character));
    const becomes = kind ? kind[1](character) : character;
    this.#becomes.set(character, becomes);
    return becomes;
  }

  /** The longest piece that fits, again and again; one unknown if at some position none does. */
  #pieces(word) {
    const unknown = [this.#ids.get(UNKNOWN)];
    if (new TextEncoder().encode(word).length > MOST_BYTES) {
      return unknown;
    }
    const letters = [...word];
    const ids = [];
    for (let start = 0; start < letters.length; ) {
      const prefix = start ? "##" : "";
      let end = letters.length;
      let id;
      while (end > start) {
        id = this.#ids.get(prefix + letters.slice(start, end).join(""));
        if (id !== undefined) {
          break;
        }
        end -= 1;
      }
      if (end === start) {
        return unknown;
      }
      ids.push(id);
      start = end;
    }
    return ids;
  }
}

/** Whether a character is in one of the ranges `[first, last, first, last, ...]`. */
function inRanges(ranges) {
  const hex = (index) => `\\u{${ranges[index].toString(16)}}`;
  const parts = [];
  for (let index = 0; index < ranges.length; index += 2) {
    parts.push(`${hex(index)}-${hex(index + 1)}`);
  }
  const expression = new RegExp(`[${parts.join("")}]`, "u");
  return (character) => expression.test(character);
}
