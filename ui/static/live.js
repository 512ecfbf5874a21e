// Keeps the live part of a page up to date with what the server sends: what is open stays open, and
// the focus where it is. Without it the page of a running cycle reloads.
"use strict";
const part = document.getElementById("live");
if (part && part.dataset.events) {
  const source = new EventSource(part.dataset.events);
  source.addEventListener("message", (event) => {
    const open = [...part.querySelectorAll("details[open]")].map((each) => each.id);
    const held = part.contains(document.activeElement) && document.activeElement;
    const href = held && held.getAttribute("href");
    part.innerHTML = event.data;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    const again = [...part.querySelectorAll("[href]")].find((a) => a.getAttribute("href") === href);
    again?.focus({ preventScroll: true });
  });
  source.addEventListener("end", () => source.close());
}
