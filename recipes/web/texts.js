// The page of a classifier of texts: the label, its probability, and the words that decided.

import {loadModel} from "./litert.js";
import {file, lines, say, showError} from "./page.js";
import {markParagraphs, splitSentences} from "./sentences.js";
import {shade} from "./shading.js";
import {Tokenizer} from "./tokenizer.js";

const PAUSE = 250; // milliseconds without a key before a text is read
const MOST_LABELS = 6;

const [form, input, examples, answer] = ["form", "text", "examples", "answer"].map((id) =>
  document.getElementById(id),
);

/** Of a text its probabilities, words and sentences, and where the model stopped to read. */
async function read(text) {
  const {settings, tokenizer, run} = page;
  return settings.kinds
    ? readDocument(text, settings, tokenizer, run)
    : readText(text, settings, tokenizer, run);
}

async function readText(text, {length}, tokenizer, run) {
  const words = tokenizer.encodeWords(text);
  const ids = words.flatMap((word) => word.ids).slice(0, length);
  const row = new Int32Array(length);
  row.set(ids);
  const {probability, weights} = await run({ids: row});
  return {probability, sentences: [], ...weighed(words, weights.slice(0, ids.length), text)};
}

async function readDocument(text, settings, tokenizer, run) {
  const {length: most, words: width, columns, kinds} = settings;
  const words = tokenizer.encodeWords(markParagraphs(text));
  const all = splitSentences(words.flatMap((word) => word.ids), kinds, width);
  const sentences = all.slice(0, most);
  const grid = new Int32Array(most * columns);
  sentences.forEach((sentence, index) => grid.set(sentence, index * columns));
  const outputs = await run({ids: grid});
  // Of each piece in its order: the share of its sentence, and its own in that.
  const stride = outputs.words.length / most;
  const shares = sentences.flatMap((sentence, index) =>
    sentence.map((_, place) => outputs.sentences[index] * outputs.words[index * stride + place]),
  );
  const wordOf = words.flatMap((word) => word.ids.map(() => word)); // of each piece
  let [first, end] = [0, 0];
  const spans = sentences.map((sentence, index) => {
    // A sentence that got too long may have been cut within a word, which stays with the first.
    const start = Math.max(wordOf[first].start, end);
    first += sentence.length;
    end = wordOf[first - 1].end;
    return {start, end, weight: outputs.sentences[index]};
  });
  return {probability: outputs.probability, sentences: spans, ...weighed(words, shares, text)};
}

/** Words with the sums of their pieces' weights, and from where on the text was not read. */
function weighed(words, weights, text) {
  const spans = [];
  let first = 0;
  for (const [index, {start, end, ids}] of words.entries()) {
    if (first >= weights.length) {
      return {words: withoutOverlap(spans), unread: start, left: words.length - index};
    }
    const own = weights.slice(first, first + ids.length);
    spans.push({start, end, weight: own.reduce((sum, weight) => sum + weight, 0)});
    first += ids.length;
  }
  return {words: withoutOverlap(spans), unread: text.length, left: 0};
}

/** Spans of which some may have come from one character: those are joined. */
function withoutOverlap(spans) {
  const apart = [];
  for (const span of spans) {
    const last = apart.at(-1);
    if (last && span.start < last.end) {
      last.end = Math.max(last.end, span.end);
      last.weight += span.weight;
    } else {
      apart.push({...span});
    }
  }
  return apart;
}

function show(text, {probability, words, sentences, unread, left}) {
  const order = [...page.labels.keys()].sort((a, b) => probability[b] - probability[a]);
  const [best, ...others] = order;
  document.getElementById("label").textContent = page.labels[best];
  document.getElementById("probability").textContent = probability[best].toFixed(3);
  const items = others.slice(0, MOST_LABELS - 1).map((index) => {
    const item = document.createElement("li");
    item.textContent = `${page.labels[index]} ${probability[index].toFixed(3)}`;
    return item;
  });
  document.getElementById("others").replaceChildren(...items);
  shade(document.getElementById("words"), text, words, sentences, unread);
  document.getElementById("unread").textContent = left
    ? `The grey rest, ${left} words and signs, was not read: ${page.settings.limit}.`
    : "";
  answer.hidden = false;
}

let asked = 0;

/** Reads what stands in the box; an answer that comes too late is dropped. */
async function update() {
  const number = (asked += 1);
  const text = input.value;
  if (!text.trim()) {
    answer.hidden = true;
    say("Write a text, or paste one. It stays in this browser.");
    return;
  }
  try {
    const start = performance.now();
    const found = await read(text);
    if (number === asked) {
      show(text, found);
      say(`Read in ${(performance.now() - start).toFixed(1)} ms, in this browser.`);
    }
  } catch (error) {
    showError(error);
  }
}

async function load() {
  say("Loading the words ...");
  const [settings, characters, pieces, labels] = await Promise.all([
    file("page.json").then((response) => response.json()),
    file("characters.json").then((response) => response.json()),
    lines("vocabulary.txt"),
    lines("labels.txt"),
  ]);
  const tokenizer = new Tokenizer(pieces, characters);
  return {settings, labels, tokenizer, run: await loadModel(say)};
}

const page = await load();
for (const example of page.settings.examples) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = example.length > 80 ? `${example.slice(0, 77)}...` : example;
  button.addEventListener("click", () => {
    input.value = example;
    update();
  });
  examples.append(button);
}
let timer;
input.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(update, PAUSE);
});
form.addEventListener("submit", (event) => event.preventDefault());
input.disabled = false;
// What was typed before a reload may stand there still.
input.value ||= page.settings.examples[0] ?? "";
await update();
