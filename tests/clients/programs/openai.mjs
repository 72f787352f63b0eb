// The npm package `openai`, both dialects.
import OpenAI, { toFile } from "openai";
import { dataUrl, run, upload } from "./cells.mjs";

async function fileId(client, cell) {
  const file = await toFile(...upload(cell));
  return (await client.files.create({ file, purpose: "user_data" })).id;
}

async function askChat(client, cell) {
  const part =
    cell.picture.kind === "file"
      ? { type: "file", file: { file_id: await fileId(client, cell) } }
      : { type: "image_url", image_url: { url: dataUrl(cell.picture) } };
  const messages = [{ role: "user", content: [{ type: "text", text: "What?" }, part] }];
  const asked = { model: cell.model, messages };
  if (!cell.is_streamed) {
    return (await client.chat.completions.create(asked)).choices[0].message.content;
  }
  let said = "";
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
    said += chunk.choices[0]?.delta?.content ?? "";
  }
  return said;
}

async function askResponses(client, cell) {
  const named =
    cell.picture.kind === "file"
      ? { file_id: await fileId(client, cell) }
      : { image_url: dataUrl(cell.picture) };
  const image = { type: "input_image", detail: "auto", ...named };
  const input = [{ role: "user", content: [{ type: "input_text", text: "What?" }, image] }];
  const asked = { model: cell.model, input };
  if (!cell.is_streamed) return (await client.responses.create(asked)).output_text;
  return (await client.responses.stream(asked).finalResponse()).output_text;
}

await run((cell) => {
  const client = new OpenAI({ baseURL: `${cell.url}/v1`, apiKey: cell.key });
  return cell.dialect === "openai.chat" ? askChat(client, cell) : askResponses(client, cell);
});
