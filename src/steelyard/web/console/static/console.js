// What pages cannot do by themselves: copying, asking before what cannot be undone, local times, plots, and calls of their own.
"use strict";
(() => {
  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);

  const showTimes = (root) => root.querySelectorAll("time[datetime]:not([data-shown])").forEach((one) => {
    const at = new Date(one.dateTime);
    const two = (n) => String(n).padStart(2, "0");
    one.title = one.dateTime;
    one.textContent = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
    one.dataset.shown = "1";
  });

  const copy = async (button) => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // without TLS a browser has no clipboard for pages: mark the text, so that one key press copies it
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      document.execCommand("copy");
    }
    const was = button.textContent;
    button.textContent = "✓";
    setTimeout(() => { button.textContent = was; }, 1500);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.ask && !confirm(form.dataset.ask)) event.preventDefault();
    if (form.dataset.goto) {
      event.preventDefault();
      const id = new FormData(form).get("id").trim();
      if (id) location.href = form.dataset.goto + encodeURIComponent(id);
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // a token for calls that the page makes itself, as a key that was chosen
  const mint = async (path, token, fields) => {
    const answer = await fetch(path, { method: "POST", body: new URLSearchParams(fields), headers: { "x-form-token": token, "hx-request": "true" } });
    if (!answer.ok) throw new Error((new DOMParser().parseFromString(await answer.text(), "text/html")).body.textContent.trim());
    return (await answer.json()).token;
  };
  window.steelyard = { mint };

  const colours = ["#0b8a7d", "#c2561a", "#5a56c9", "#b03060", "#7a7a00", "#2a7ab8", "#777777"];
  const plot = (place) => {
    const told = JSON.parse(place.querySelector("script").textContent);
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--soft").trim(), line = style.getPropertyValue("--line").trim();
    const axis = { stroke: ink, grid: { stroke: line }, ticks: { stroke: line } };
    const many = (value) => value >= 1e6 ? `${value / 1e6}M` : value >= 1e3 ? `${value / 1e3}k` : String(value);
    const options = {
      width: place.clientWidth - 28, height: 240,
      series: [{}, ...told.names.map((name, n) => ({ label: name, stroke: colours[n % colours.length], width: 2, points: { show: told.columns[0].length < 32 } }))],
      ...(told.clock ? {} : { tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC") }),
      axes: [told.clock ? axis : { ...axis, incrs: [1, 2, 7, 14].map((days) => days * 86400), values: (_, ticks) => ticks.map((at) => new Date(at * 1000).toISOString().slice(5, 10)) }, { ...axis, size: 60, values: (_, ticks) => ticks.map(many) }],
      scales: { y: { range: (_, low, high) => [Math.min(low ?? 0, 0), high > 0 ? high * 1.08 : 1] } },
    };
    const chart = new uPlot(options, told.columns, place);
    new ResizeObserver(() => chart.setSize({ width: place.clientWidth - 28, height: 240 })).observe(place);
  };

  const tryApp = (form) => {
    const place = form.querySelector(".answer");
    let session = "";
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const data = new FormData(form), app = form.dataset.app;
      place.hidden = false;
      place.replaceChildren(form.dataset.textRunning);
      try {
        const token = await mint(`/console/apps/${app}/token`, form.dataset.token, { key: data.get("key") });
        const asked = { input: { prompt: data.get("prompt"), ...(session && { session_id: session }) }, parameters: { has_thoughts: true } };
        const answer = await fetch(`/api/v1/apps/${app}/completion`, {
          method: "POST", body: JSON.stringify(asked), headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        });
        const told = await answer.json();
        if (!answer.ok) throw new Error(told.message);
        session = told.output.session_id;
        place.replaceChildren();
        for (const one of told.output.thoughts ?? []) {
          const step = place.appendChild(document.createElement("p"));
          step.className = "small";
          step.textContent = `· ${one.action_name}/${one.action} ${one.action_input_stream} → ${String(one.observation).slice(0, 300)}`;
        }
        place.appendChild(document.createElement("pre")).textContent = told.output.text;
        const receipt = place.appendChild(document.createElement("a"));
        receipt.href = `/console/requests/${told.request_id}`;
        receipt.textContent = told.request_id;
      } catch (failure) {
        place.replaceChildren(failure.message);
      }
    });
  };

  // files go straight to the API, one after another, with a token that uploads alone; then the form names them
  const upload = (form) => {
    const bar = form.querySelector("progress"), told = form.querySelector("[role=status]");
    const send = (file, token, done, total) => new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(), data = new FormData();
      data.append("purpose", form.dataset.purpose ?? "file-extract");
      data.append("file", file);
      request.open("POST", "/v1/files");
      request.setRequestHeader("authorization", `Bearer ${token}`);
      request.upload.onprogress = (event) => { bar.value = (done + event.loaded) / Math.max(total, 1); };
      request.onload = () => {
        const answer = JSON.parse(request.responseText || "{}");
        if (request.status === 200) resolve(answer.id); else reject(new Error(`${file.name}: ${answer.error?.message ?? request.status}`));
      };
      request.onerror = () => reject(new Error(file.name));
      request.send(data);
    });
    form.addEventListener("submit", async (event) => {
      if (form.elements.files.value) return;
      event.preventDefault();
      const chosen = [...form.querySelector("[type=file]").files], total = chosen.reduce((sum, one) => sum + one.size, 0), ids = [];
      bar.hidden = false;
      try {
        let done = 0;
        for (const file of chosen) {
          told.textContent = `${form.dataset.textSending} ${file.name} (${ids.length + 1}/${chosen.length})`;
          const token = await mint(form.dataset.mint, form.dataset.token, { key: form.elements.key.value });
          ids.push(await send(file, token, done, total));
          done += file.size;
        }
        form.elements.files.value = ids.join(",");
        form.submit();
      } catch (failure) {
        told.textContent = failure.message;
      }
    });
  };

  const STEPS = { "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400, "7d": 604800 };
  const promql = (form) => {
    const told = document.getElementById("q-told"), table = document.getElementById("q-table"), place = document.getElementById("q-plot");
    const named = (metric) => {
      const { __name__: name = "", ...rest } = metric;
      const labels = Object.entries(rest).map(([key, value]) => `${key}="${value}"`).join(", ");
      return labels ? `${name}{${labels}}` : name || "{}";
    };
    const ask = async (token, path, fields) => {
      const answer = await fetch(`/prometheus/api/v1/${path}?${new URLSearchParams(fields)}`, { headers: { authorization: `Bearer ${token}` } });
      const body = await answer.json();
      if (body.status !== "success") throw new Error(body.error ?? body.message);
      return body.data;
    };
    const showTable = (data) => {
      const rows = data.resultType === "vector" ? data.result : [{ metric: {}, value: data.result }];
      table.replaceChildren(...rows.slice(0, 500).map((one) => {
        const row = document.createElement("tr");
        row.insertCell().textContent = named(one.metric);
        const cell = row.insertCell();
        cell.className = "right";
        cell.textContent = one.value?.[1] ?? "";
        return row;
      }));
      document.getElementById("q-scroll").hidden = !rows.length;
      told.textContent = rows.length ? `${rows.length} ${form.dataset.textSeries}` : form.dataset.textNone;
    };
    const showPlot = (data) => {
      const lines = data.result.slice(0, 20);
      place.replaceChildren();
      place.hidden = !lines.length;
      if (!lines.length) return;
      const times = [...new Set(lines.flatMap((one) => one.values.map(([at]) => at)))].sort((a, b) => a - b);
      const columns = lines.map((one) => { const by = new Map(one.values); return times.map((at) => by.has(at) ? Number(by.get(at)) : null); });
      const script = document.createElement("script");
      script.type = "application/json";
      script.textContent = JSON.stringify({ names: lines.map((one) => named(one.metric)), columns: [times, ...columns], clock: true });
      place.append(script);
      plot(place);
    };
    const run = async () => {
      const query = form.elements.q.value.trim();
      if (!query) return;
      try {
        const token = await mint("/console/promql/token", form.dataset.token, { key: document.getElementById("q-key").value });
        const span = STEPS[form.elements.range.value] ?? 3600, end = Math.floor(Date.now() / 1000);
        showTable(await ask(token, "query", { query }));
        showPlot(await ask(token, "query_range", { query, start: end - span, end, step: Math.max(Math.round(span / 240), 15) }));
        const names = await ask(token, "label/__name__/values", {}).catch(() => []);
        document.getElementById("q-names").replaceChildren(...names.map((name) => Object.assign(document.createElement("option"), { value: name })));
      } catch (failure) {
        told.textContent = failure.message;
      }
    };
    run();
  };

  document.addEventListener("DOMContentLoaded", () => {
    showTimes(document);
    each("[data-plot]", plot);
    each("#try-app", tryApp);
    each("#promql", promql);
    each("#upload", upload);
    new MutationObserver(() => showTimes(document)).observe(document.body, { childList: true, subtree: true });
  });
})();
