// The npm package `@anthropic-ai/sdk`.
import Anthropic, { toFile } from "@anthropic-ai/sdk";
import { run, upload } from "./cells.mjs";

async function fileId(client, cell) {
  const file = await toFile(...upload(cell));
  return (await client.files.upload({ file })).id;
}

async function source(client, cell) {
  const { picture } = cell;
  if (picture.kind === "file") return { type: "file", file_id: await fileId(client, cell) };
  if (picture.kind === "ref") return { type: "url", url: picture.text };
  return { type: "base64", media_type: "image/png", data: picture.text };
}

await run(async (cell) => {
  const client = new Anthropic({ baseURL: cell.url, apiKey: cell.key });
  const image = { type: "image", source: await source(client, cell) };
  const messages = [{ role: "user", content: [{ type: "text", text: "What?" }, image] }];
  const asked = { model: cell.model, max_tokens: 99, messages };
  if (!cell.is_streamed) return (await client.messages.create(asked)).content[0].text;
  return await client.messages.stream(asked).finalText();
});
