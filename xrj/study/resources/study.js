"use strict";
// Sends each answer as it is given, and keeps it in the browser until the server has stored it; number
// keys answer the question in turn. The pages work without.
const RETRY = 3000; // milliseconds
const PATIENCE = 10000;
const form = document.querySelector("form.questions");
const status = document.getElementById("status");
const questions = [...document.querySelectorAll("form.questions fieldset")];
const here = location.pathname;
const reader = here.split("/").slice(0, 3).join("/"); // /r/TOKEN
const waiting = new Map(recalled()); // answers that are not known to be stored, by path and question
let busy = false;
let leaving = false;
let timer;

function say(text, alarm = false) {
  status.textContent = text;
  status.classList.toggle("alarm", alarm);
}

function shelf(use) {
  try {
    return use(localStorage);
  } catch {
    return undefined; // forbidden or full: the answers live as long as the page
  }
}

function recalled() {
  const left = (kept) => Object.entries(kept).filter(([key]) => key.startsWith(`${reader}/`)).sort();
  const entries = shelf(left) || [];
  return entries.map(([key, text]) => [key, { ...JSON.parse(text), recalled: true }]);
}

function remember(key, answer) {
  waiting.set(key, answer);
  shelf((kept) => kept.setItem(key, JSON.stringify(answer)));
}

function forget(key) {
  waiting.delete(key);
  shelf((kept) => kept.removeItem(key));
}

function named(key) {
  const [path, name] = key.split(" ");
  const question = name === "remark" ? "remark" : `question ${name.slice(1)}`;
  return path === here ? question : `X-ray ${path.split("/").pop()}, ${question}`;
}

async function post(path, fields) {
  const response = await fetch(path, {
    method: "POST",
    headers: { Accept: "application/json" },
    body: new URLSearchParams(fields),
    signal: AbortSignal.timeout(PATIENCE),
  }).catch(() => null);
  const result = await response?.json().catch(() => null);
  if (result && response.status < 500) return result;
  throw new Error(result?.error || "the server cannot be reached");
}

async function send(key, answer) {
  const [path, name] = key.split(" ");
  const seen = answer.recalled ? answer.seen : form.elements.seen.value;
  const result = await post(path, { seen, [name]: answer.value });
  if (result.error) {
    answer.refused = result.error;
    return "";
  }
  if (waiting.get(key) === answer) forget(key);
  if (path === here) form.elements.seen.value = result.seen;
  return result.notice;
}

async function store() {
  if (busy) return;
  busy = true;
  clearTimeout(timer);
  let notice = "";
  let trouble = "";
  try {
    let next;
    while ((next = [...waiting].find(([, answer]) => !answer.refused))) {
      notice = (await send(...next)) || notice;
    }
    if (leaving) await post(here, { seen: form.elements.seen.value }); // is there a next page?
  } catch (error) {
    trouble = error.message;
    timer = setTimeout(store, RETRY);
  }
  busy = false;
  tell(notice, trouble);
}

function tell(notice, trouble) {
  const lacking = [...waiting.keys()].map(named).join(", ");
  const refused = [...waiting.values()].map((answer) => answer.refused).find(Boolean);
  if (trouble) {
    const what = lacking ? `Not stored yet: ${lacking}` : "The next page cannot be had yet";
    say(`${what} (${trouble}). Tried again by itself; keep this page open`, true);
    return;
  }
  const left = leaving && !refused && !notice;
  leaving = false;
  if (refused) say(`Not stored: ${lacking} (${refused})`, true);
  else say(notice || "Stored", Boolean(notice));
  if (left) form.submit();
  else if (!form && !refused) location.reload();
}

if (form) prepare();
if (waiting.size) {
  say("Storing");
  store();
}
addEventListener("beforeunload", (event) => {
  if (waiting.size) event.preventDefault();
});

function prepare() {
  for (const [key, { value }] of waiting) {
    const [path, name] = key.split(" ");
    if (path === here) form.elements[name].value = value;
  }
  form.addEventListener("change", ({ target }) => {
    remember(`${here} ${target.name}`, { value: target.value, seen: form.elements.seen.value });
    say("Storing");
    store();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    leaving = true;
    store();
  });
  document.addEventListener("keydown", press);
  document.querySelector(".keys").hidden = false;
}

function active() {
  const focused = document.activeElement.closest("fieldset");
  const open = questions.find((one) => !one.querySelector(":checked"));
  return focused || open || questions[0];
}

function move(question) {
  const next = questions[questions.indexOf(question) + 1];
  const target = next
    ? next.querySelector(":checked") || next.querySelector("input")
    : form.querySelector("button");
  target.focus();
}

function press(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("textarea")) return;
  const question = active();
  const choice = /^\d$/.test(event.key) && question.querySelector(`input[value="${event.key}"]`);
  if (choice) {
    choice.click();
    move(question);
  } else if (event.key === "r") {
    form.elements.remark.focus();
  } else if (event.key === "b") {
    document.querySelector("a[rel=prev]").click();
  } else {
    return;
  }
  event.preventDefault();
}
