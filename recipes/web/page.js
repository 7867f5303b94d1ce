// What every page does: it reads its files, says what it is doing, and shows errors in words.

const status = document.getElementById("status");

/** Shows a line below the answer; an empty one when there is nothing to say. */
export function say(line) {
  status.textContent = line;
  status.classList.remove("error");
}

/** Shows an error in that line. */
export function showError(error) {
  status.textContent = `That did not work: ${error?.message ?? error}`;
  status.classList.add("error");
}

/**
 * A file of the page's folder.
 *
 * @param {string} name Its name.
 * @returns {Promise<Response>}
 */
export async function file(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) {
    throw new Error(`${name} cannot be read (${response.status} ${response.statusText})`);
  }
  return response;
}

/** The lines of a text file. */
export async function lines(name) {
  return (await (await file(name)).text()).split("\n").slice(0, -1);
}

addEventListener("error", (event) => showError(event.error ?? event.message));
addEventListener("unhandledrejection", (event) => showError(event.reason));
