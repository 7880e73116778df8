// Live: takes in what the stream tells. However much happens, a frame changes a few articles, frames rest in between, and no more stand than `most`;
// what a person has open or stands in keeps its place: the steps around it change, it is not made anew.
"use strict";

const list = document.getElementById("stories");
const most = Number(list.dataset.most);
const total = document.getElementById("total");
const none = document.getElementById("none");
const pause = document.getElementById("pause");
const A_FRAME = 6;
const REST = 100; // milliseconds from one such frame to the next: every article that comes moves all below it, and keys want their turn
const REST_AFTER_A_KEY = 500; // and as long as somebody types: what comes meanwhile is shown a little later
const waiting = new Map(); // the articles that have not been shown yet, the newest last
let paused = false, asked = false, lastNew = -Infinity, lastKey = -Infinity;

function made(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

// In a flood nobody follows what fades in, and it would cost every frame.
function isQuiet() {
  const now = performance.now(), since = now - lastNew;
  lastNew = now;
  return since > 1000;
}

function isRead(element) {
  return element.querySelector("details[open]") || element.contains(document.activeElement);
}

function words(step) {
  return [...step.querySelectorAll(".at, .place, .what, summary")].map((part) => part.textContent).join("\n");
}

function show(id, html) {
  const article = made(html), old = document.getElementById(id);
  if (!old) {
    if (isQuiet()) article.classList.add("fresh");
    list.prepend(article);
    return;
  }
  if (!isRead(old)) {
    old.replaceWith(article);
    return;
  }
  old.dataset.state = article.dataset.state;
  old.querySelector("header").replaceWith(article.querySelector("header"));
  old.querySelector(".reason")?.remove();
  const reason = article.querySelector(".reason");
  if (reason) old.querySelector("header").after(reason);
  const steps = [...article.querySelectorAll(".steps > li")], told = new Set(steps.map((step) => step.dataset.step));
  for (const step of old.querySelectorAll(".steps > li")) if (!told.has(step.dataset.step)) step.remove();
  let after = null;
  for (const step of steps) {
    const there = old.querySelector(`[data-step="${step.dataset.step}"]`);
    const stays = there && (isRead(there) || words(there) === words(step));
    if (!there) after ? after.after(step) : old.querySelector(".steps").prepend(step);
    else if (!stays) there.replaceWith(step);
    after = stays ? there : step;
  }
}

function frame() {
  asked = false;
  if (paused) return;
  let left = A_FRAME;
  for (const [id, html] of waiting) {
    if (left-- === 0) break;
    waiting.delete(id);
    show(id, html);
  }
  // What is too much goes from the end, but not what a person reads.
  for (let last = list.lastElementChild; list.childElementCount > most && last;) {
    const before = last.previousElementSibling;
    if (!last.contains(document.activeElement) && !last.querySelector("details[open]")) last.remove();
    last = before;
  }
  none.hidden = list.childElementCount > 0;
  ask();
}

function ask() {
  if (asked || paused || !waiting.size) return;
  asked = true;
  // A hidden page has no frames.
  setTimeout(() => document.hidden ? frame() : requestAnimationFrame(frame), document.hidden ? 500 : rest());
}

function rest() {
  return performance.now() - lastKey < REST_AFTER_A_KEY ? REST_AFTER_A_KEY : REST;
}

function told(event) {
  const news = JSON.parse(event.data);
  total.textContent = news.total;
  list.dataset.since = news.since;
  for (const id of news.gone) {
    waiting.delete(id);
    document.getElementById(id)?.remove();
  }
  for (const { id, html } of news.articles) {
    waiting.delete(id);
    waiting.set(id, html);
  }
  for (const id of waiting.keys()) {
    if (waiting.size <= most) break;
    waiting.delete(id);
  }
  ask();
}

addEventListener("keydown", () => { lastKey = performance.now(); }, true);

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  ask();
});

// Headers and bodies are fetched as they are opened.
list.addEventListener("toggle", async ({ target: details }) => {
  if (!details.open || details.dataset.loaded) return;
  details.dataset.loaded = "yes";
  const answer = await fetch(details.dataset.href, { headers: { "HX-Request": "true" } });
  details.querySelector(".parts").innerHTML = await answer.text();
}, true);

// The filter works as it is set; its button is for who has no script, or presses Enter.
const form = document.querySelector(".filter");
let stream = null, leaving = false, due = 0, filters = 0;

// The answer to a filter that was changed meanwhile comes too late: another is on its way.
async function filter() {
  const mine = ++filters;
  const answer = await fetch(`/${location.search}`);
  const there = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("stories");
  if (!there || mine !== filters) return;
  waiting.clear();
  list.replaceChildren(...there.children);
  list.dataset.since = there.dataset.since;
  none.hidden = list.childElementCount > 0;
  listen();
}

// The address says at once what is set, for who loads the page again.
function soon(milliseconds) {
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  history.replaceState(null, "", query.size ? `/?${query}` : "/");
  clearTimeout(due);
  due = setTimeout(filter, milliseconds);
}

form.addEventListener("change", () => soon(0));
form.addEventListener("input", () => soon(300));
form.addEventListener("submit", (event) => { event.preventDefault(); soon(0); });
addEventListener("beforeunload", () => { leaving = true; });

function listen() {
  stream?.close();
  const query = new URLSearchParams(location.search);
  query.set("since", list.dataset.since);
  const mine = stream = new EventSource(`/console/live/stream?${query}`);
  mine.onmessage = (event) => { if (mine === stream) told(event); };
  // From where it stopped, not from where the page began.
  mine.onerror = () => {
    mine.close();
    if (!leaving && mine === stream) setTimeout(() => { if (mine === stream) listen(); }, 1000);
  };
}
listen();
