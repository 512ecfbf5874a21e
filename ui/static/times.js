// Shows times in the reader's own zone; the title keeps UTC. Without it the page shows UTC.
"use strict";
const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.textContent = local.format(at);
    time.dataset.local = "";
  }
}
localise(document);
new MutationObserver((changes) => {
  for (const change of changes) if (change.addedNodes.length) localise(change.target);
}).observe(document.body, { childList: true, subtree: true });
