// The unmodified Node SDK: plain, streamed, helper, errors, tools. Exits with 1 and the reason where it disagrees.
import assert from "node:assert/strict";
import OpenAI from "openai";

const judged = JSON.parse(process.env.STEELYARD_JUDGED);
const client = (name, options = {}) =>
  new OpenAI({ baseURL: judged[name].origin + "/compatible-mode/v1", apiKey: judged[name].key, ...options });
const messages = [{ role: "user", content: "hi" }];
const fake = client("served");

const plain = await fake.chat.completions.create({ model: "fake", messages });
assert.equal(plain.choices[0].message.content, "Hello from the fake vendor");
assert.equal(plain._request_id.length, 36);

let text = "";
for await (const chunk of await fake.chat.completions.create({ model: "fake", messages, stream: true })) {
  text += chunk.choices[0].delta.content ?? "";
}
assert.equal(text, "Hello from the fake vendor");

const helper = fake.chat.completions.stream({ model: "fake", messages, stream_options: { include_usage: true } });
assert.equal((await helper.finalChatCompletion()).usage.prompt_tokens, 10);

await assert.rejects(
  client("served", { apiKey: "sk-wrong" }).chat.completions.create({ model: "fake", messages }),
  (error) => error.status === 401 && error.code === "invalid_api_key",
);
await assert.rejects(
  fake.chat.completions.create({ model: "fake", messages, temperature: 2 }),
  (error) => error.status === 400 && /Temperature should be/.test(error.message),
);
await assert.rejects(async () => {
  const stream = await fake.chat.completions.create({
    model: "fake", messages, stream: true, script: { chunks: 9, moderate_after: 2 },
  });
  for await (const _ of stream);
}, (error) => error.code === "data_inspection_failed");

const names = [];
for await (const model of await fake.models.list()) names.push(model.id);
assert.ok(names.includes("fake"));

const real = await client("embedded").chat.completions.create({
  model: "qwen-plus", messages: [{ role: "user", content: "Weather in Hangzhou?" }], max_tokens: 64, tool_choice: "required",
  tools: [{ type: "function", function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } }],
});
assert.equal(real.choices[0].finish_reason, "tool_calls");
JSON.parse(real.choices[0].message.tool_calls[0].function.arguments);
console.log("ok");
