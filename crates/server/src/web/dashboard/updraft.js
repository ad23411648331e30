// Keeps pages live. Everything it does is an addition: links and forms work without it, except the upload.
"use strict";

const root = document.documentElement;
if (localStorage.getItem("theme")) root.dataset.theme = localStorage.getItem("theme");

// ---- Putting a fresh rendering in place of what is shown, without losing focus, typed text or open dialogs ----

// Not `.id`: a form answers that with its field of this name.
const idOf = (node) => node.getAttribute?.("id");

// What was said stays, but for the announcement of an update that has ended: its outcome is shown beside it.
function outlive(said, ended) {
  for (const notice of said.querySelectorAll(".notice[data-update]")) if (Number(notice.dataset.update) <= Number(ended)) notice.remove();
}

function morph(shown, fresh) {
  if (shown.dataset?.keep !== undefined) return void (fresh.dataset?.ended && outlive(shown, fresh.dataset.ended));
  if (shown.isEqualNode(fresh)) return;
  if (shown.nodeType !== 1 || shown.nodeName !== fresh.nodeName || idOf(shown) !== idOf(fresh)) return shown.replaceWith(fresh);
  for (const { name } of [...shown.attributes]) if (!fresh.hasAttribute(name) && name !== "open") shown.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  const known = new Map([...shown.children].filter(idOf).map((child) => [idOf(child), child]));
  const coming = new Set([...fresh.children].map(idOf));
  let place = shown.firstChild;
  for (const next of [...fresh.childNodes]) {
    const same = known.get(idOf(next));
    // What is gone is skipped here and removed at the end; moving an open dialog would close it.
    while (same && place && place !== same && !(idOf(place) && coming.has(idOf(place)))) {
      [place] = [place.nextSibling, place.remove()];
    }
    if (same && same !== place) shown.insertBefore(same, place);
    const target = same || (place && !idOf(place) ? place : null);
    if (target) {
      place = target.nextSibling;
      morph(target, next);
    } else shown.insertBefore(next, place);
  }
  while (place) [place] = [place.nextSibling, place.remove()];
}

let asking = false;
let again = false;

async function refresh() {
  if (asking) return void (again = true);
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { "X-Updraft-Fragment": "1" } });
    if (answer.status === 401) return location.assign("/login");
    if (answer.ok) {
      const fresh = document.createElement("template");
      fresh.innerHTML = await answer.text();
      for (const part of [...fresh.content.children]) morph(document.getElementById(part.id), part);
    }
    root.classList.toggle("stale", !answer.ok);
  } catch {
    root.classList.add("stale");
  } finally {
    setTimeout(() => {
      const more = again;
      asking = again = false;
      if (more) refresh();
    }, 200);
  }
}

function watch() {
  const events = new EventSource("/api/v1/events");
  const here = location.pathname;
  events.addEventListener("device", (event) => {
    const { device } = JSON.parse(event.data);
    if (here === "/" || decodeURIComponent(here) === "/devices/" + device) refresh();
  });
  events.addEventListener("rollout", (event) => {
    const { rollout } = JSON.parse(event.data);
    if (here === "/rollouts" || here === "/rollouts/" + rollout) refresh();
  });
  for (const name of ["product", "health", "resync"]) events.addEventListener(name, refresh);
  // What happened before the stream was there, or while it was away, is seen now.
  events.addEventListener("open", refresh);
  events.addEventListener("error", () => {
    root.classList.add("stale");
    if (events.readyState === EventSource.CLOSED) setTimeout(watch, 5000);
  });
}

// ---- Forms answer in place ----

function say(place, html) {
  return Object.assign(document.getElementById(place) || document.getElementById("toasts"), { innerHTML: html });
}

function sayText(place, tone, title, text) {
  const box = say(place, `<div class="notice ${tone}"><strong></strong><span></span></div>`);
  box.querySelector("strong").textContent = title;
  box.querySelector("span").textContent = text;
}

async function send(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  const place = form.dataset.answer;
  button?.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body, headers: { "X-Updraft-Fragment": "1" } });
    if (answer.status === 401) return location.assign("/login");
    const go = answer.headers.get("X-Updraft-Go");
    if (go) return location.assign(go);
    if (answer.headers.get("Content-Type")?.startsWith("text/html")) say(place, await answer.text());
    else sayText(place, "bad", "Not done", (await answer.json()).detail);
    const dialog = form.closest("dialog");
    if (dialog && !dialog.contains(document.getElementById(place))) dialog.close();
    dialog?.querySelector("[data-announced]")?.focus();
    refresh();
  } catch {
    sayText(place, "bad", "Not sent", "The server does not answer. Try again.");
  } finally {
    button?.removeAttribute("aria-busy");
  }
}

// What the gate found: the sentences as they are, and how to go on where a person may.
function judged(box, answer, publish) {
  const findings = answer?.findings ?? [];
  const shown = findings.filter(({ level, allowed }) => level === "refuse" || !allowed);
  const list = document.createElement("ul");
  for (const { level, allowed, sentence } of shown) {
    const item = list.appendChild(document.createElement("li"));
    const warns = level === "warn" || allowed;
    item.className = warns ? "warn" : "bad";
    item.textContent = warns ? `Warning: ${sentence}` : sentence;
  }
  if (shown.length) box.querySelector("span").replaceChildren(list);
  const refusals = findings.filter(({ level, allowed }) => level === "refuse" && !allowed);
  if (!refusals.length || refusals.some(({ overrulable }) => !overrulable)) return;
  const button = box.querySelector(".notice").appendChild(document.createElement("button"));
  button.type = "button";
  button.textContent = `Publish all the same (allow ${refusals.map(({ check }) => check).join(", ")})`;
  button.addEventListener("click", () => publish(findings.filter(({ overrulable, level }) => overrulable && level === "refuse").map(({ check }) => check)));
}

function upload(form, allow = []) {
  const fields = new FormData(form);
  const bar = form.querySelector("progress");
  const button = form.querySelector("button[type=submit]");
  const query = new URLSearchParams();
  for (const name of ["version", "notes", "promote"]) if (fields.get(name)) query.set(name, fields.get(name));
  if (allow.length) query.set("allow", allow.join(","));
  if (fields.get("image")?.name) query.set("file", fields.get("image").name);
  const request = new XMLHttpRequest();
  const over = (...said) => {
    bar.hidden = !(button.disabled = false);
    sayText("said-upload", ...said);
    judged(document.getElementById("said-upload"), request.response, (names) => upload(form, names));
  };
  request.open("POST", form.dataset.upload.replace("{p}", encodeURIComponent(fields.get("product"))) + "?" + query);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.responseType = "json";
  request.upload.onprogress = (event) => (bar.value = event.lengthComputable ? (event.loaded * 100) / event.total : 0);
  request.upload.onload = () => bar.removeAttribute("value");
  request.onerror = () => over("bad", "Not published", "The connection broke off. Nothing was changed.");
  request.onload = () => {
    if (request.status !== 201) return over("bad", "Not published", request.response?.detail || "The server failed.");
    const warned = request.response.findings.some(({ level, allowed }) => level === "warn" && !allowed);
    const then = fields.get("promote") ? "It is in production" : "Promote it when it shall be offered";
    const title = `${request.response.version} is published` + (warned ? `. ${then}, and mind this:` : "");
    over(warned ? "warn" : "good", title, `${then}.`);
    form.reset();
    label(form);
    if (location.pathname === "/releases") location.assign("/releases/" + fields.get("product"));
    else refresh();
  };
  bar.hidden = !(button.disabled = true);
  bar.value = 0;
  request.send(fields.get("image"));
}

function label(form) {
  const [file] = form.querySelector("input[type=file]").files;
  form.querySelector("[data-file-name]").textContent = file ? `${file.name}, ${(file.size / 1e6).toFixed(2)} MB` : "Drop firmware.bin here, or choose it";
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.upload) upload(form);
  else if (form.dataset.answer) send(form, event.submitter);
  else return;
  event.preventDefault();
});

document.addEventListener("change", ({ target }) => {
  if (target.type === "file") label(target.form);
  if (target.tagName === "SELECT" && target.form?.dataset.auto !== undefined) target.form.requestSubmit();
});

document.addEventListener("click", async ({ target }) => {
  if (target.tagName === "DIALOG") target.close();
  const button = target.closest("button");
  const { open, close, another, copy, themeToggle } = button?.dataset ?? {};
  if (open) document.getElementById(open).showModal();
  if (close !== undefined) button.closest("dialog").close();
  if (another !== undefined) {
    const dialog = button.closest("dialog");
    forget(dialog);
    dialog.querySelector("[autofocus]")?.focus();
  }
  if (copy !== undefined) {
    await navigator.clipboard.writeText(copy);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1500);
  }
  if (themeToggle !== undefined) {
    const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  }
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const zone = event.target.closest?.(".drop");
    if (!zone) return; // elsewhere a drop does what the browser does
    event.preventDefault();
    zone.classList.toggle("over", kind === "dragover");
    if (kind !== "drop" || !event.dataTransfer.files.length) return;
    zone.querySelector("input").files = event.dataTransfer.files;
    label(zone.closest("form"));
  });
}

// A closed dialog forgets what was typed and said: a password is not found there by the next person.
function forget(dialog) {
  dialog.querySelector("form")?.reset();
  for (const said of dialog.querySelectorAll("[data-keep]")) said.replaceChildren();
}

document.addEventListener("close", ({ target }) => forget(target), true);

document.addEventListener("DOMContentLoaded", () => {
  if (!document.querySelector(".rail")) return;
  watch();
  // Times such as "3 min ago" grow old by themselves.
  setInterval(() => document.hidden || refresh(), 30000);
});
