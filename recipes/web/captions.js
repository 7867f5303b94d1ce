// The page of a captioner: the caption of a picture, and where in it each word was seen.

import {canvasOf, decode, resize} from "./images.js";
import {loadModel} from "./litert.js";
import {file, lines, say, showError} from "./page.js";

const PANEL = 300; // pixels of a side
const DARKEST = 0.8;

const [form, input, examples, answer, panels] = ["form", "image", "examples", "answer", "panels"].map(
  (id) => document.getElementById(id),
);

/** The words of a picture, each with its grid of weights. */
async function read(image) {
  const {size, ends, rows, columns} = page.settings;
  const {ids, weights} = await page.run({image: resize(image, size)});
  const stop = ids.findIndex((id) => ends.includes(id));
  const places = rows * columns;
  return Array.from(ids.slice(0, stop < 0 ? ids.length : stop), (id, index) => ({
    word: page.vocabulary[id],
    weights: weights.slice(index * places, (index + 1) * places),
  }));
}

function show(image, words) {
  document.getElementById("caption").textContent = words.map(({word}) => word).join(" ");
  const source = canvasOf(image.width, image.height);
  source.getContext("2d").putImageData(new ImageData(image.pixels, image.width, image.height), 0, 0);
  panels.replaceChildren(
    panel(source, null, "the picture"),
    ...words.map(({word, weights}) => panel(source, weights, word)),
  );
  answer.hidden = false;
}

/** The picture, dark where the weights are small, with a word below it. */
function panel(source, weights, word) {
  const canvas = canvasOf(PANEL, PANEL);
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, PANEL, PANEL);
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = word;
  figure.append(canvas, caption);
  if (weights) {
    const {rows, columns} = page.settings;
    const largest = Math.max(...weights);
    const veil = canvasOf(columns, rows);
    const dark = new ImageData(columns, rows);
    weights.forEach((weight, place) => {
      dark.data[4 * place + 3] = 255 * DARKEST * (1 - weight / (largest || 1));
    });
    veil.getContext("2d").putImageData(dark, 0, 0);
    context.drawImage(veil, 0, 0, PANEL, PANEL);
    const best = weights.indexOf(largest);
    const [row, column] = [Math.floor(best / columns) + 1, (best % columns) + 1];
    figure.title = `most at row ${row}, column ${column}: ${largest.toFixed(3)}`;
  }
  return figure;
}

async function update(blob) {
  try {
    say("Looking at the picture ...");
    const image = await decode(blob);
    const start = performance.now();
    const words = await read(image);
    show(image, words);
    say(`Described in ${(performance.now() - start).toFixed(0)} ms, in this browser.`);
  } catch (error) {
    answer.hidden = true;
    showError(error);
  }
}

async function load() {
  say("Loading the words ...");
  const [settings, vocabulary] = await Promise.all([
    file("page.json").then((response) => response.json()),
    lines("vocabulary.txt"),
  ]);
  return {settings, vocabulary, run: await loadModel(say)};
}

const page = await load();
for (const [index, name] of page.settings.examples.entries()) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `Example ${index + 1}`;
  button.addEventListener("click", async () => {
    input.value = "";
    update(await (await file(name)).blob());
  });
  examples.append(button);
}
input.addEventListener("change", () => input.files.length && update(input.files[0]));
form.addEventListener("submit", (event) => event.preventDefault());
input.disabled = false;
say("Choose a picture. It stays in this browser.");
