// Calls that are asked again: one after another, each with a token for that one call.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("replay");
  if (!form) return;
  const words = form.dataset;
  const ask = async (section) => {
    const answer = section.querySelector("[data-answer]"), told = section.querySelector("[data-told]");
    told.textContent = words.textRunning;
    told.classList.remove("notice", "bad");
    try {
      const key = new FormData(form).get("key");
      const token = await steelyard.mint("/console/playground/token", words.token, { key, model: words.model, mode: "chat" });
      const began = performance.now();
      const got = await fetch(words.path, {
        method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: section.querySelector("script").textContent,
      });
      const body = await got.json();
      if (!got.ok) throw new Error(body.error.message);
      const message = body.choices[0].message;
      answer.textContent = message.content ?? JSON.stringify(message.tool_calls, null, 1);
      const id = got.headers.get("x-request-id"), receipt = document.createElement("a");
      receipt.href = `/console/requests/${id}`;
      receipt.textContent = id;
      told.textContent = `${Math.round(performance.now() - began)} ms · ${body.usage?.prompt_tokens ?? "–"} + ${body.usage?.completion_tokens ?? "–"} ${words.textTokens} `;
      told.append(receipt);
    } catch (failure) {
      told.textContent = failure.message;
      told.classList.add("notice", "bad");
    }
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    for (const section of document.querySelectorAll("[data-replay]")) await ask(section);
  });
});
