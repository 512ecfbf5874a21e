// Keeps the live part of a page up to date with what the server sends. Without it the page reloads.
"use strict";
const part = document.getElementById("live");
if (part && part.dataset.events) {
  const source = new EventSource(part.dataset.events);
  source.addEventListener("message", (event) => {
    const open = [...part.querySelectorAll("details[open]")].map((each) => each.id);
    part.innerHTML = event.data;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  });
  source.addEventListener("end", () => source.close());
}
