// Replaces the live part of a page with the fragments that the server sends.
"use strict";
const live = document.getElementById("live");
if (live && live.dataset.events) {
  const source = new EventSource(live.dataset.events);
  source.addEventListener("fragment", (event) => { live.innerHTML = event.data; });
  source.addEventListener("end", () => source.close());
}
