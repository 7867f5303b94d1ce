// The model in the browser: LiteRT.js, which runs a TFLite file whose sizes are all fixed.
//
//   const run = await loadModel(say);
//   const outputs = await run({ids: new Int32Array(256)});   // {probability: Float32Array, ...}

import {file} from "./page.js";
import {loadAndCompile, loadLiteRt, Tensor} from "./runtime/core/index.js";

/**
 * Loads runtime and model.
 *
 * @param {function(string): void} say Told what is being loaded.
 * @returns A function from typed arrays, by the names of the model's inputs, to typed arrays.
 */
export async function loadModel(say) {
  say("Loading the runtime, 9 MB the first time ...");
  const content = file("model.tflite").then((response) => response.arrayBuffer());
  try {
    await loadLiteRt(new URL("runtime/wasm/", import.meta.url).href);
  } catch (error) {
    throw new Error(`the runtime cannot be loaded: ${error.message ?? "no script in runtime/wasm"}`);
  }
  say("Loading the model ...");
  const model = await loadAndCompile(new Uint8Array(await content), {accelerator: "wasm"});
  const shapes = new Map(model.getInputDetails().map(({name, shape}) => [name, shape]));

  return async (inputs) => {
    const tensors = {};
    let results = {};
    try {
      for (const [name, values] of Object.entries(inputs)) {
        tensors[name] = new Tensor(values, shapes.get(name));
      }
      results = await model.run(tensors);
      const outputs = {};
      for (const [name, tensor] of Object.entries(results)) {
        outputs[name] = (await tensor.data()).slice();
      }
      return outputs;
    } finally {
      // Their memory is the runtime's, which no garbage collector frees.
      for (const tensor of [...Object.values(tensors), ...Object.values(results)]) {
        tensor.delete();
      }
    }
  };
}
