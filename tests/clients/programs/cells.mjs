// What every client's program shares: which cells to try, and how to say what came of each.
import { text } from "node:stream/consumers";

export class NotExpressibleError extends Error {}

// What stands where a data URL would.
export function dataUrl(picture) {
  return picture.kind === "ref" ? picture.text : `data:image/png;base64,${picture.text}`;
}

// A file's bytes, name and options, as SDKs' `toFile` takes them.
export function upload(cell) {
  return [Buffer.from(cell.picture.pixel, "base64"), `${cell.model}.png`, { type: "image/png" }];
}

async function tried(ask, cell) {
  try {
    return { said: await ask(cell) };
  } catch (error) {
    if (error instanceof NotExpressibleError) return { inexpressible: error.message };
    const status = error.status ?? error.statusCode ?? null;
    return { raised: error.constructor.name, status, words: error.message };
  }
}

// Try every cell of the plan; `ask` returns what the model said.
export async function run(ask) {
  for (const cell of JSON.parse(await text(process.stdin))) {
    console.log(JSON.stringify({ model: cell.model, ...(await tried(ask, cell)) }));
  }
}
