"use strict";

/* Reload the page as soon as the account is approved. */
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { method: "HEAD", cache: "no-store" });
    if (answer.ok) location.reload();
  } catch {
    // The network is unavailable. The next check may succeed.
  }
}, 4_000);
