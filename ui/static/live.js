// Keeps the live part of a page up to date with what the server sends. Without it the page reloads.
"use strict";
const part = document.getElementById("live");
if (part && part.dataset.events) {
  const source = new EventSource(part.dataset.events);
  source.addEventListener("message", (event) => { part.innerHTML = event.data; });
  source.addEventListener("end", () => source.close());
}
