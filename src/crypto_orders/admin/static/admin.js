// The admin without a mouse, and its drawer. Every screen works without this file; with it, sooner.
"use strict";

const drawer = document.getElementById("drawer");
const help = document.getElementById("keys");
let opener = null;

// The drawer: a link of a row fetches its content (htmx), and the content's arrival opens it.

function openDrawer() {
  if (!drawer.open || !drawer.matches(":modal")) {
    drawer.removeAttribute("open");
    drawer.showModal();
  }
  markRow();
}

function orderShown() {
  return new URLSearchParams(location.search).get("order");
}

function markRow() {
  const shown = drawer.open ? orderShown() : null;
  for (const row of document.querySelectorAll("tr[data-order]")) {
    if (row.dataset.order === shown) row.setAttribute("aria-selected", "true");
    else row.removeAttribute("aria-selected");
  }
}

function rowLinks() {
  return [...document.querySelectorAll("#content a[data-row]")];
}

drawer.addEventListener("close", () => {
  const address = new URL(location.href);
  const closed = address.searchParams.get("order");
  if (closed) {
    address.searchParams.delete("order");
    history.replaceState(history.state, "", address);
  }
  drawer.replaceChildren();
  markRow();
  const link = opener?.isConnected ? opener : rowLinks().find((row) => row.closest("tr")?.dataset.order === closed);
  link?.focus();
  opener = null;
});

drawer.addEventListener("click", (event) => {
  if (event.target === drawer) drawer.close();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-row]");
  if (link) opener = link;
  if (event.target.closest("[data-close-drawer]")) {
    event.preventDefault();
    drawer.close();
  }
  const opening = event.target.closest("a[data-open]");
  const part = opening && document.getElementById(opening.dataset.open);
  if (part) {
    event.preventDefault();
    part.open = true;
    part.scrollIntoView({ block: "start" });
    part.querySelector("select, input:not([type=hidden]), textarea")?.focus();
  }
});

// Addresses of a list name the filters that are on, and no others.
for (const form of document.querySelectorAll("form[data-drop-blanks]")) {
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  });
}

// htmx carries attributes over to what replaces an element, a dragged field's size too, and the page's policy
// refuses styles in attributes.
document.addEventListener("htmx:before:swap", () => {
  for (const field of document.querySelectorAll("textarea[style], input[style]")) field.removeAttribute("style");
});

document.addEventListener("htmx:after:swap", () => {
  if (drawer.firstElementChild && !drawer.matches(":modal")) openDrawer();
  else markRow();
});

// The part of an open order that refreshes itself never takes the focus from whoever works in it, and leaves
// open what they opened. What fails is tried again.

function liveOf(event) {
  const source = event.detail.ctx?.sourceElement;
  return source?.id === "order-live" ? source : null;
}

function isAtWorkIn(part) {
  return part.contains(document.activeElement);
}

let openedInLive = [];

let sessionEnded = false;

document.addEventListener("htmx:before:request", (event) => {
  const live = liveOf(event);
  if (live && (sessionEnded || document.hidden || isAtWorkIn(live))) event.preventDefault();
});

document.addEventListener("htmx:before:swap", (event) => {
  const live = liveOf(event);
  if (!live) return;
  if (event.detail.ctx.response.status === 401) tellSessionEnded(live, event.detail.ctx.text);
  if (event.detail.ctx.response.status >= 400 || isAtWorkIn(live)) event.preventDefault();
  openedInLive = [...live.querySelectorAll("details[open][id]")].map((part) => part.id);
});

document.addEventListener("htmx:after:swap", () => {
  for (const id of openedInLive) document.getElementById(id)?.setAttribute("open", "");
  openedInLive = [];
});

// Without a session nothing refreshes itself any more, and what somebody was typing stays where it is.
function tellSessionEnded(live, html) {
  sessionEnded = true;
  const notice = new DOMParser().parseFromString(html, "text/html").querySelector(".notice");
  if (notice) live.before(notice);
}

// What gets no answer is told where somebody looks, until something gets one; what repeats itself stays quiet.

function forgetUnanswered() {
  document.getElementById("unanswered")?.remove();
}

document.addEventListener("htmx:error", (event) => {
  const { ctx } = event.detail;
  if (!ctx?.request || ctx.request.headers?.["x-background"]) return;
  forgetUnanswered();
  const notice = document.createElement("p");
  notice.id = "unanswered";
  notice.className = "notice bad unanswered";
  notice.textContent = "The service did not answer. Try again.";
  const place = drawer.matches(":modal") ? drawer.querySelector(".within") : null;
  (place ?? document.getElementById("content")).prepend(notice);
  announce(notice.textContent);
});

document.addEventListener("htmx:after:request", forgetUnanswered);

// While an action waits for its answer the drawer keeps its order: the answer would have no place to stand.

let acting = 0;

function tellActing() {
  const place = document.getElementById("acting");
  if (place) place.textContent = acting ? "Waiting for the answer. Then j and k move on." : "";
}

document.addEventListener("htmx:before:request", (event) => {
  const { target, request } = event.detail.ctx;
  if (request.method === "POST") {
    acting += 1;
    tellActing();
  } else if (acting && target === drawer) event.preventDefault();
});

document.addEventListener("htmx:finally:request", (event) => {
  if (event.detail.ctx.request.method !== "POST") return;
  acting -= 1;
  tellActing();
});

if (drawer.firstElementChild) openDrawer();

// Keys.

function isTyping(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

function move(by) {
  if (acting && drawer.open) return;
  const links = rowLinks();
  if (!links.length) return;
  const shown = orderShown();
  const at = drawer.open
    ? links.findIndex((link) => link.closest("tr")?.dataset.order === shown)
    : links.indexOf(document.activeElement);
  const next = links[Math.min(Math.max(at + by, 0), links.length - 1)];
  if (drawer.open) next.click();
  else next.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (help.open && event.key !== "Escape") return;
  if (event.key === "/" && !drawer.open) {
    const field = document.querySelector('[data-key="/"]');
    if (field) {
      event.preventDefault();
      field.focus();
    }
  } else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "?") help.showModal();
});

// The counts beside the navigation.

async function refreshCounts() {
  const reply = await fetch("/admin/counts", { headers: { "x-background": "1" } }).catch(() => null);
  if (!reply?.ok) return;
  const counts = await reply.json();
  for (const place of document.querySelectorAll("[data-count]")) {
    const count = counts[place.dataset.count] ?? "0";
    place.textContent = count === "0" ? "" : count;
    if (count !== "0") place.setAttribute("aria-label", `${count} open`);
  }
}

const COUNTS_EVERY_MS = 30000;
refreshCounts();
setInterval(refreshCounts, COUNTS_EVERY_MS);

document.querySelector("form.theme")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const body = new URLSearchParams(new FormData(form));
  // Without an answer the page changes all the same; only the next one does not know of it.
  await fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => null);
  const chosen = form.elements.theme.value;
  document.documentElement.dataset.theme = chosen;
  form.elements.theme.value = chosen === "dark" ? "light" : "dark";
  const label = `Switch to the ${form.elements.theme.value} theme`;
  form.querySelector("button").setAttribute("aria-label", label);
});
