// The playground: each model is asked by the browser itself, with a token for that one call.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("playground");
  if (!form) return;
  const words = form.dataset, answers = document.getElementById("answers"), stop = form.querySelector("[data-stop]");
  const codes = document.getElementById("codes"), folded = document.getElementById("the-code");
  const SAMPLES = {
    tools: [{ type: "function", function: { name: "get_weather", description: "The weather in a city", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } }],
    schema: { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"], additionalProperties: false },
  };
  let running = [], picture = "";

  const field = (name) => String(new FormData(form).get(name) ?? "").trim();
  const number = (body, name) => { if (field(name)) body[name] = Number(field(name)); return body; };
  const lines = (name) => field(name).split("\n").map((one) => one.trim()).filter(Boolean);
  const json = (name) => {
    try { return JSON.parse(field(name)); } catch { throw new Error(`${name}: ${words.textJson}`); }
  };
  const make = (tag, text = "", name = "") => Object.assign(document.createElement(tag), { textContent: text, className: name });

  // mode -> the body that is asked, without the model
  const BODIES = {
    chat: () => {
      const messages = field("system") ? [{ role: "system", content: field("system") }] : [];
      messages.push({ role: "user", content: picture ? [{ type: "image_url", image_url: { url: picture } }, { type: "text", text: field("prompt") }] : field("prompt") });
      const body = number(number({ messages }, "temperature"), "max_tokens");
      if (field("tools")) body.tools = json("tools");
      if (field("schema")) body.response_format = { type: "json_schema", json_schema: { name: "answer", schema: json("schema"), strict: true } };
      return body;
    },
    embeddings: () => number({ input: lines("texts") }, "dimensions"),
    rerank: () => number({ query: field("query"), documents: lines("documents") }, "top_n"),
    images: () => ({ prompt: field("prompt"), n: 1, ...(field("size") && { size: field("size") }) }),
    videos: () => ({ prompt: field("prompt"), ...(field("size") && { size: field("size") }) }),
  };

  const read = async (answer, place, began) => {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const calls = [];
    let rest = "", first = 0, usage = null;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      rest += value;
      const parts = rest.split("\n");
      rest = parts.pop();
      for (const line of parts) {
        if (!line.startsWith("data:") || line.includes("[DONE]")) continue;
        const event = JSON.parse(line.slice(5));
        if (event.error) throw new Error(event.error.message);
        usage = event.usage ?? usage;
        const delta = event.choices?.[0]?.delta ?? {};
        if (!first && (delta.content || delta.reasoning_content || delta.tool_calls)) first = performance.now();
        place.thought.textContent += delta.reasoning_content ?? "";
        place.text.textContent += delta.content ?? "";
        for (const call of delta.tool_calls ?? []) {
          const known = (calls[call.index ?? 0] ??= { name: "", arguments: "" });
          known.name += call.function?.name ?? "";
          known.arguments += call.function?.arguments ?? "";
        }
      }
    }
    for (const call of calls) place.box.insertBefore(make("pre", `→ ${call.name}(${call.arguments})`, "call"), place.told);
    const end = performance.now(), count = usage?.completion_tokens ?? 0;
    const speed = count / Math.max((end - (first || began)) / 1000, 0.001);
    return `${words.textFirst} ${Math.round((first || end) - began)} ms · ${speed.toFixed(1)} ${words.textSpeed} · ${usage?.prompt_tokens ?? "–"} + ${count} ${words.textTokens}`;
  };

  const likeness = (a, b) => a.reduce((sum, one, n) => sum + one * b[n], 0) / (Math.hypot(...a) * Math.hypot(...b) || 1);
  const table = (place, rows) => {
    const made = make("table");
    for (const cells of rows) {
      const row = made.insertRow();
      for (const cell of cells) row.insertCell().textContent = cell;
    }
    const scroll = make("div", "", "scroll");
    scroll.append(made);
    place.box.insertBefore(scroll, place.told);
  };

  // mode -> shows a whole answer and says what there is to say of it
  const SHOWN = {
    embeddings: (told, place, body) => {
      const vectors = told.data.map((one) => one.embedding);
      table(place, vectors.map((one, n) => [body.input[n].slice(0, 40), ...vectors.map((other) => likeness(one, other).toFixed(3))]));
      return `${vectors[0]?.length ?? 0} ${words.textDimensions} · ${told.usage?.total_tokens ?? "–"} ${words.textTokens}`;
    },
    rerank: (told, place, body) => {
      table(place, told.results.map((one) => [one.relevance_score.toFixed(4), body.documents[one.index]]));
      return `${told.usage?.total_tokens ?? "–"} ${words.textTokens}`;
    },
    images: (told, place) => {
      for (const one of told.data) {
        const image = make("img");
        // the same server, under whatever name this page reached it
        const at = new URL(one.url, location.href);
        image.src = at.pathname + at.search;
        image.alt = field("prompt");
        place.box.insertBefore(image, place.told);
      }
      return "";
    },
    videos: (told, place) => {
      // the task's own part asks for itself until it is over
      const part = make("div");
      part.id = "task";
      place.box.insertBefore(part, place.told);
      const look = async () => {
        const answer = await fetch(`/console/tasks/${told.id}/progress`, { headers: { "hx-request": "true" } });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        part.replaceChildren(...page.body.childNodes);
        if (page.querySelector("[hx-get]") || part.querySelector("[hx-get]")) setTimeout(look, 2000);
      };
      look();
      const task = make("a", told.id);
      task.href = `/console/tasks/${told.id}`;
      place.box.append(task);
      return told.status;
    },
  };

  const box = (model) => {
    const made = make("section", "", "answer");
    made.append(make("h3", model));
    const place = { box: made, thought: make("pre", "", "thought"), text: make("pre", "", "text"), told: make("p", words.textRunning, "small told") };
    made.append(place.thought, place.text, place.told);
    answers.append(made);
    return place;
  };

  const tell = async (place, figures, answer) => {
    place.told.textContent = [figures, answer.headers.get("x-steelyard-target")].filter(Boolean).join(" · ");
    const id = answer.headers.get("x-request-id"), receipt = make("a", id);
    receipt.href = `/console/requests/${id}`;
    place.told.append(" ", receipt);
    const cost = await fetch(`/console/requests/${id}/cost`, { headers: { "hx-request": "true" } });
    if (cost.ok) place.told.append(" · ", new DOMParser().parseFromString(await cost.text(), "text/html").body.textContent.trim());
  };

  const ask = async (key, model, body) => {
    const place = box(model), cut = new AbortController();
    running.push(cut);
    try {
      const token = await steelyard.mint("/console/playground/token", words.token, { key, model, mode: words.mode });
      const began = performance.now(), isChat = words.mode === "chat";
      const sent = { model, ...body, ...(isChat && { stream: true, stream_options: { include_usage: true } }) };
      const answer = await fetch(words.path, {
        method: "POST", signal: cut.signal, headers: { authorization: `Bearer ${token}`, "content-type": "application/json" }, body: JSON.stringify(sent),
      });
      if (!answer.ok) throw new Error((await answer.json()).error.message);
      const told = isChat ? await read(answer, place, began) : [`${Math.round(performance.now() - began)} ms`, SHOWN[words.mode](await answer.json(), place, body)].filter(Boolean).join(" · ");
      if (words.mode === "videos") place.told.textContent = told;
      else await tell(place, told, answer);
    } catch (failure) {
      place.told.textContent = failure.name === "AbortError" ? words.textStopped : failure.message;
      place.told.classList.add("notice", "bad");
    }
  };

  // pictures are long: code shows their beginning
  const shortened = (value) => typeof value === "string" && value.length > 2000 ? `${value.slice(0, 60)}…`
    : Array.isArray(value) ? value.map(shortened)
    : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, shortened(one)])) : value;
  let wait = 0;
  const showCode = () => {
    clearTimeout(wait);
    if (!folded.open) return;
    wait = setTimeout(async () => {
      try {
        const body = { model: field("model"), ...BODIES[words.mode]() };
        const answer = await fetch("/console/playground/code", {
          method: "POST", headers: { "x-form-token": words.token, "hx-request": "true" },
          body: new URLSearchParams({ mode: words.mode, body: JSON.stringify(shortened(body)) }),
        });
        codes.replaceChildren(...new DOMParser().parseFromString(await answer.text(), "text/html").body.childNodes);
      } catch (failure) {
        codes.replaceChildren(make("p", failure.message, "notice bad"));
      }
    }, 200);
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answers.replaceChildren();
    running = [];
    let body;
    try { body = BODIES[words.mode](); } catch (failure) {
      answers.append(make("p", failure.message, "notice bad"));
      return;
    }
    const models = [...new Set(new FormData(form).getAll("model").filter(Boolean))];
    stop.hidden = false;
    await Promise.all(models.map((model) => ask(field("key"), model, body)));
    stop.hidden = true;
  });
  stop.addEventListener("click", () => running.forEach((one) => one.abort()));
  form.addEventListener("input", showCode);
  folded.addEventListener("toggle", showCode);
  form.querySelectorAll("[data-sample]").forEach((one) => one.addEventListener("click", () => {
    form.elements[one.dataset.sample].value = JSON.stringify(SAMPLES[one.dataset.sample], null, 2);
    showCode();
  }));
  document.getElementById("p-picture")?.addEventListener("change", (event) => {
    const [file] = event.target.files;
    picture = "";
    if (!file) return;
    const reader = new FileReader();
    reader.onload = () => { picture = reader.result; showCode(); };
    reader.readAsDataURL(file);
  });
});
