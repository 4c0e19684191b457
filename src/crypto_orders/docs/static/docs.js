// Makes the published pages handier: the search key, the theme, and where in a page one is.
"use strict";

const YEAR_SECONDS = 31536000;

function isTyping(target) {
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  event.preventDefault();
  document.getElementById("q").focus();
});

const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `theme=${root.dataset.theme}; Path=/; Max-Age=${YEAR_SECONDS}; SameSite=Lax${secure}`;
});

// The menu of small screens closes when one of its links leads somewhere on the same page.
document.addEventListener("click", (event) => {
  const menu = event.target.closest("details.menu, details.contents-small");
  if (menu && event.target.closest("a")) menu.open = false;
});

const links = new Map();
for (const link of document.querySelectorAll(".docs-contents a")) links.set(link.hash.slice(1), link);
if (links.size) {
  const mark = (id) => {
    for (const [anchor, link] of links) {
      if (anchor === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  const watcher = new IntersectionObserver(
    (entries) => {
      const seen = entries.find((entry) => entry.isIntersecting);
      if (seen) mark(seen.target.id);
    },
    { rootMargin: "-70px 0px -70% 0px" },
  );
  for (const anchor of links.keys()) {
    const heading = document.getElementById(anchor);
    if (heading) watcher.observe(heading);
  }
}
