// What every page may use: copying a text, and the reader's choice of a theme.
"use strict";

const COPIED_MS = 1500;

function revealCopyButtons(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  button.classList.add("done");
  announce(button.dataset.copied ?? "Copied");
  setTimeout(() => button.classList.remove("done"), COPIED_MS);
}

// One polite live region for the whole page, made when it is first needed. Behind an open drawer nothing is
// announced, so the region stands inside it.
function announce(text) {
  let region = document.getElementById("announcer");
  if (!region) {
    region = document.createElement("div");
    region.id = "announcer";
    region.className = "visually-hidden";
    region.setAttribute("role", "status");
  }
  const home = document.querySelector("dialog:modal") ?? document.body;
  if (region.parentElement !== home) home.append(region);
  region.textContent = text;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});

document.addEventListener("htmx:after:swap", () => revealCopyButtons(document));
revealCopyButtons(document);
