// The payment page: the clock of the pay window, news as they come, and printing the receipt.
"use strict";

const TICK_MS = 250;

let clock = null;

// Whichever clock went further counts: one may be set back, the other may have slept.
function startClock() {
  const face = document.querySelector("[data-seconds-left]");
  clock = face && {
    face,
    seconds: Number(face.dataset.secondsLeft),
    wallMs: Date.now(),
    steadyMs: performance.now(),
  };
}

function shown(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  return (hours ? `${hours}:` : "") + `${two(minutes)}:${two(seconds % 60)}`;
}

function tick() {
  if (!clock) return;
  const passedMs = Math.max(Date.now() - clock.wallMs, performance.now() - clock.steadyMs);
  const left = Math.max(0, Math.ceil(clock.seconds - passedMs / 1000));
  const text = shown(left);
  if (clock.face.textContent !== text) clock.face.textContent = text;
  if (left === 0) closeWindow();
}

// Nothing may be sent any more: the address goes at once, whether or not the server can be asked.
function closeWindow() {
  clock = null;
  const now = document.querySelector("[data-timed]");
  const over = document.querySelector("[data-over]");
  if (!now || !over) return;
  now.remove();
  over.hidden = false;
  tell(over.querySelector("h1").textContent);
}

function tell(text) {
  document.getElementById("announcer").textContent = text;
}

function offline(isOffline) {
  const notice = document.querySelector("[data-offline]");
  if (notice) notice.hidden = !isOffline;
}

let hadFocus = false;

document.addEventListener("htmx:before:swap", () => {
  const live = document.getElementById("live");
  hadFocus = Boolean(live && live !== document.activeElement && live.contains(document.activeElement));
});

document.addEventListener("htmx:after:swap", () => {
  const live = document.getElementById("live");
  if (!live || live.dataset.told === "yes") return;
  live.dataset.told = "yes";
  document.title = live.dataset.title;
  tell(live.dataset.announce);
  // What was focused is gone: the place where it was is where the news are.
  if (hadFocus && document.activeElement === document.body) live.focus({ preventScroll: true });
  startClock();
});

document.addEventListener("htmx:after:request", (event) => {
  const response = event.detail?.ctx?.response;
  if (response) offline(response.status >= 500);
});
document.addEventListener("htmx:error", () => offline(true));

// A page that the browser kept aside may be hours old.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

const first = document.getElementById("live");
if (first) first.dataset.told = "yes";
startClock();
setInterval(tick, TICK_MS);
