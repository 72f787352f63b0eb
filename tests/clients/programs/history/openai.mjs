// A conversation by `previous_response_id` with the npm package `openai`.
// Reads `url`, `key`, `stream`, `fields` and `turns` from standard input, prints the id of each answer.
import { text } from "node:stream/consumers";
import OpenAI from "openai";

const plan = JSON.parse(await text(process.stdin));
const client = new OpenAI({ baseURL: plan.url, apiKey: plan.key });
let answered = [];
let named = {};
for (const turn of plan.turns) {
  const input =
    turn.items ??
    answered
      .filter((item) => item.type.endsWith("_call"))
      .map((item) => ({
        type: `${item.type}_output`,
        call_id: item.call_id,
        output: turn.output,
      }));
  const asked = { ...plan.fields, input, ...named };
  let response;
  if (plan.stream) {
    for await (const event of await client.responses.create({ ...asked, stream: true })) {
      response = event.response ?? response;
    }
  } else {
    response = await client.responses.create(asked);
  }
  answered = response.output;
  named = { previous_response_id: response.id };
  console.log(response.id);
}
try {
  const unknown = { input: "hi", previous_response_id: "resp_unknown" };
  await client.responses.create({ ...plan.fields, ...unknown });
} catch (error) {
  if (!(error instanceof OpenAI.BadRequestError)) throw error;
  console.log(error.code);
}
