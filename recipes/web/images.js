// Pictures as the recipes read them: turned upright, in RGB, and squashed to a square.

const BITS = 22; // of a weight's fraction

/**
 * The pixels of an image file.
 *
 * @param {Blob} file
 * @returns {Promise<{width: number, height: number, pixels: Uint8ClampedArray}>} RGBA.
 */
export async function decode(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {colorSpaceConversion: "none"});
  } catch {
    throw new Error(`${file.name || "the file"} is no picture that this browser can read`);
  }
  const {width, height} = bitmap;
  const context = canvasOf(width, height).getContext("2d", {willReadFrequently: true});
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return {width, height, pixels: context.getImageData(0, 0, width, height).data};
}

/** A canvas that is on no page. */
export function canvasOf(width, height) {
  return Object.assign(document.createElement("canvas"), {width, height});
}

/**
 * Resizes to a square as Pillow's `Resampling.BILINEAR` does: the triangle is as wide as what
 * becomes one pixel. Pillow may take the axes in the other order, which moves a byte by one.
 *
 * @param {{width: number, height: number, pixels: ArrayLike<number>}} image RGBA.
 * @param {number} size Pixels of a side.
 * @returns {Uint8Array} RGB, row by row.
 */
export function resize({width, height, pixels}, size) {
  const rgb = new Uint8Array(width * height * 3);
  for (let index = 0; index < width * height; index += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      rgb[3 * index + channel] = pixels[4 * index + channel];
    }
  }
  return resizeColumns(resizeRows(rgb, width, height, size), size, height, size);
}

function resizeRows(values, width, height, size) {
  return along(values, width, size, height, (line, place, count) => 3 * (line * count + place));
}

function resizeColumns(values, width, height, size) {
  return along(values, height, size, width, (line, place) => 3 * (place * width + line));
}

/** Lines of pixels resized; `indexOf(line, place, count)` is that of a pixel in one of `count`. */
function along(values, before, after, lines, indexOf) {
  if (before === after) {
    return values;
  }
  const step = indexOf(0, 1, before);
  const resized = new Uint8Array(lines * after * 3);
  weightsOf(before, after).forEach(({first, weights}, place) => {
    for (let line = 0; line < lines; line += 1) {
      const to = indexOf(line, place, after);
      for (let channel = 0; channel < 3; channel += 1) {
        let sum = 2 ** (BITS - 1);
        let from = indexOf(line, first, before) + channel;
        for (const weight of weights) {
          sum += weight * values[from];
          from += step;
        }
        resized[to + channel] = Math.floor(sum / 2 ** BITS);
      }
    }
  });
  return resized;
}

/** For each new pixel the first old one and the weights, in units of 2^-BITS. */
function weightsOf(before, after) {
  const scale = before / after;
  const support = Math.max(scale, 1);
  return Array.from({length: after}, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(before, Math.trunc(centre + support + 0.5));
    const weights = [];
    for (let old = first; old < last; old += 1) {
      weights.push(Math.max(0, 1 - Math.abs((old - centre + 0.5) / support)));
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return {first, weights: weights.map((weight) => Math.trunc(0.5 + (weight / total) * 2 ** BITS))};
  });
}
