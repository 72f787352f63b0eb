// Vercel's `ai` with `@ai-sdk/openai-compatible`.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { NotExpressibleError, run } from "./cells.mjs";

function part(picture) {
  if (picture.kind === "file") {
    return { type: "file", mediaType: "image/png", data: { type: "reference", reference: { compatible: picture.text } } };
  }
  return { type: "file", mediaType: "image/png", data: picture.kind === "ref" ? new URL(picture.text) : picture.text };
}

await run(async (cell) => {
  const provider = createOpenAICompatible({ name: "compatible", baseURL: `${cell.url}/v1`, apiKey: cell.key });
  const content = [{ type: "text", text: "What?" }, part(cell.picture)];
  const asked = { model: provider(cell.model), messages: [{ role: "user", content }] };
  if (!cell.is_streamed) return (await generateText(asked)).text;
  let failed;
  const { textStream } = streamText({ ...asked, onError: ({ error }) => (failed = error) });
  let said = "";
  for await (const delta of textStream) said += delta;
  if (failed) throw failed;
  return said;
});
