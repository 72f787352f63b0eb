// An agent as people write them, with the official SDK, in Node; agent.py says how it is talked to.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const TYPES = { ".png": "image/png", ".jpg": "image/jpeg" };
const SECONDS = 120;

// The packages are in a folder of their own, which the first argument names.
const required = createRequire(pathToFileURL(join(process.argv[2], "package.json")));
const imported = async (name) => await import(pathToFileURL(required.resolve(name)));

const type = (image) => TYPES[extname(image)];
const base64 = (image) => readFileSync(image).toString("base64");
const dataUrl = (image) => `data:${type(image)};base64,${base64(image)}`;
const unfinished = () => new Error("the stream ended before the answer did");

// Each dialect: what is there at the start, what a user says, what answers calls, how to ask.
const chat = {
  start: (told) => [{ role: "system", content: told.instructions }],
  user(texts, images) {
    const parts = texts.map((text) => ({ type: "text", text }));
    const shown = images.map((image) => ({
      type: "image_url",
      image_url: { url: dataUrl(image) },
    }));
    return [{ role: "user", content: [...parts, ...shown] }];
  },
  results(calls, texts, images) {
    const told = calls.map((call, index) => ({
      role: "tool",
      tool_call_id: call.id,
      content: texts[index],
    }));
    return [...told, ...chat.user(["What the screen shows now:"], images)];
  },
  async ask(client, told, messages, isStreamed) {
    const asked = { model: told.model, messages, tools: told.tools };
    if (!isStreamed) {
      const { message, finish_reason } = (await client.chat.completions.create(asked)).choices[0];
      if (finish_reason !== "tool_calls") throw unfinished();
      return { text: message.content, calls: message.tool_calls, added: [message] };
    }
    let text = "";
    let finish = null;
    const calls = [];
    for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
      const { delta, finish_reason } = chunk.choices[0];
      finish = finish_reason;
      text += delta.content ?? "";
      for (const piece of delta.tool_calls ?? []) {
        calls[piece.index] ??= {
          id: piece.id,
          type: "function",
          function: { name: piece.function.name, arguments: "" },
        };
        calls[piece.index].function.arguments += piece.function.arguments ?? "";
      }
    }
    if (finish !== "tool_calls") throw unfinished();
    return { text, calls, added: [{ role: "assistant", content: text, tool_calls: calls }] };
  },
};

const inputParts = (texts, images) => [
  ...texts.map((text) => ({ type: "input_text", text })),
  ...images.map((image) => ({ type: "input_image", detail: "auto", image_url: dataUrl(image) })),
];

const responses = {
  start: () => [],
  user: (texts, images) => [{ role: "user", content: inputParts(texts, images) }],
  results: (calls, texts, images) =>
    calls.map((call, index) => ({
      type: "function_call_output",
      call_id: call.call_id,
      output: inputParts([texts[index]], index ? [] : images),
    })),
  async ask(client, told, input, isStreamed) {
    const { model, instructions, tools } = told;
    const asked = { model, instructions, input, tools, store: false };
    let answer = await client.responses.create({ ...asked, stream: isStreamed });
    if (isStreamed) {
      let last = null;
      for await (const event of answer) last = event;
      if (last?.type !== "response.completed") throw unfinished();
      answer = last.response;
    }
    const said = answer.output.filter((item) => item.type === "message");
    const text = said.flatMap((item) => item.content.map((part) => part.text)).join("");
    const calls = answer.output.filter((item) => item.type === "function_call");
    return { text, calls, added: answer.output };
  },
};

const blocks = (texts, images) => [
  ...texts.map((text) => ({ type: "text", text })),
  ...images.map((image) => ({
    type: "image",
    source: { type: "base64", media_type: type(image), data: base64(image) },
  })),
];

const messages = {
  start: () => [],
  user: (texts, images) => [{ role: "user", content: blocks(texts, images) }],
  results: (calls, texts, images) => [
    {
      role: "user",
      content: calls.map((call, index) => ({
        type: "tool_result",
        tool_use_id: call.id,
        content: blocks([texts[index]], index ? [] : images),
      })),
    },
  ],
  async ask(client, told, list, isStreamed) {
    const { model, instructions: system, tools } = told;
    const asked = { model, max_tokens: 1000, system, messages: list, tools };
    const answer = isStreamed
      ? await client.messages.stream(asked).finalMessage()
      : await client.messages.create(asked);
    if (answer.stop_reason !== "tool_use") throw unfinished();
    const text = answer.content.map((block) => (block.type === "text" ? block.text : "")).join("");
    const calls = answer.content.filter((block) => block.type === "tool_use");
    return { text, calls, added: [{ role: "assistant", content: answer.content }] };
  },
};

const DIALECTS = {
  "openai.chat": chat,
  "openai.responses": responses,
  "anthropic.messages": messages,
};

async function makeClient(told) {
  const isAnthropic = told.dialect === "anthropic.messages";
  const { default: Sdk } = await imported(isAnthropic ? "@anthropic-ai/sdk" : "openai");
  return new Sdk({
    baseURL: isAnthropic ? told.url : `${told.url}/v1`,
    apiKey: told.key,
    maxRetries: told.max_retries,
    timeout: SECONDS * 1000,
  });
}

// What new messages weigh as JSON with nothing in the place of each image.
function textBytes(list) {
  const lean = (_, value) => (typeof value === "string" && value.length > 20_000 ? "" : value);
  return Buffer.byteLength(JSON.stringify(list, lean));
}

function kinds(error) {
  const names = [];
  for (let at = error; at && at.constructor !== Object; at = Object.getPrototypeOf(at)) {
    if (names.at(-1) !== at.constructor.name) names.push(at.constructor.name);
  }
  return error.status ? [...names, String(error.status)] : names;
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const told = JSON.parse((await lines.next()).value);
const dialect = DIALECTS[told.dialect];
const client = await makeClient(told);
let list = dialect.start(told);
let calls = [];

async function take(turn) {
  if ("keep" in turn) {
    list = list.slice(0, turn.keep);
    calls = [];
  }
  const fresh = calls.length
    ? dialect.results(calls, turn.texts, turn.images)
    : dialect.user(turn.texts, turn.images);
  try {
    const reply = await dialect.ask(client, told, [...list, ...fresh], turn.is_streamed);
    list = [...list, ...fresh, ...reply.added];
    calls = reply.calls;
    return {
      text: reply.text,
      calls: calls.length,
      messages: list.length,
      new_text_bytes: textBytes(fresh),
    };
  } catch (error) {
    return { raised: kinds(error), words: String(error.message).slice(0, 300) };
  }
}

for await (const line of lines) {
  process.stdout.write(`${JSON.stringify(await take(JSON.parse(line)))}\n`);
}
