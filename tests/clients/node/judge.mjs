// The unmodified Node SDK: plain, streamed, helper, errors, tools. Exits with 1 and the reason where it disagrees.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

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
// embeddings: the SDK asks for base64 by itself, and makes nothing of numbers
const vectors = await fake.embeddings.create({ model: "fake", input: ["one", "two"], dimensions: 16 });
assert.deepEqual(vectors.data.map((one) => one.embedding.length), [16, 16]);
assert.ok(vectors.data[0].embedding.some((value) => value > 0));

const response = await fake.responses.create({ model: "fake", input: "hi" });
assert.equal(response.output_text, "Hello from the fake vendor");
const kinds = [];
for await (const event of await fake.responses.create({ model: "fake-native", input: "hi", stream: true })) kinds.push(event.type);
assert.equal(kinds[0], "response.created");
assert.equal(kinds.at(-1), "response.completed");
assert.equal((await fake.responses.retrieve(response.id)).output_text, response.output_text);

// Vercel's AI SDK: by default it speaks Responses, its compatible provider chat completions
const { origin, key } = judged.served;
const providers = {
  responses: createOpenAI({ baseURL: origin + "/v1", apiKey: key }),
  chat: createOpenAICompatible({ name: "steelyard", baseURL: origin + "/v1", apiKey: key, includeUsage: true }),
};
for (const [name, provider] of Object.entries(providers)) {
  for (const id of ["fake", "fake-native", "fake-messages"]) {
    const answer = await generateText({ model: provider(id), prompt: "hi" });
    assert.equal(answer.text, "Hello from the fake vendor", name);
    assert.equal(answer.usage.inputTokens, 10, name);
    let streamed = "";
    const stream = streamText({ model: provider(id), prompt: "hi" });
    for await (const part of stream.textStream) streamed += part;
    assert.equal(streamed, answer.text, name);
    assert.equal((await stream.usage).outputTokens, 5, name);
  }
}
const weather = tool({ description: "d", inputSchema: z.object({ city: z.string() }) });
const called = await generateText({
  model: createOpenAI({ baseURL: judged.embedded.origin + "/v1", apiKey: judged.embedded.key })("qwen-plus"),
  prompt: "Weather in Hangzhou?", tools: { weather }, toolChoice: "required", maxOutputTokens: 64, maxRetries: 0,
});
assert.equal(called.toolCalls[0].toolName, "weather");
const many = await embedMany({ model: providers.chat.textEmbeddingModel("fake"), values: ["a", "b", "c"] });
assert.equal(many.embeddings.length, 3);
await assert.rejects(
  generateText({ model: providers.chat("nobody"), prompt: "hi", maxRetries: 0 }),
  (error) => error.statusCode === 404 && /does not exist/.test(error.message),
);
console.log("ok");
