"use strict";

/* Light, dark, or as the system has it. Runs in the head, before anything is painted, so that no page flashes in the wrong
   colours. The choice is kept in this browser only. */
(() => {
  const KEY = "theme";
  const root = document.documentElement;

  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // Storage is switched off: the system's theme it is.
    }
  };

  const apply = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };

  // What only works with script is shown only then.
  root.classList.add("js");
  apply(read());

  document.addEventListener("change", (event) => {
    if (event.target.name !== "theme") return;
    apply(event.target.value);
    try {
      if (event.target.value) localStorage.setItem(KEY, event.target.value);
      else localStorage.removeItem(KEY);
    } catch {
      // It then lasts until the next page.
    }
  });

  // Another tab chose.
  addEventListener("storage", (event) => {
    if (event.key === KEY) apply(event.newValue);
  });

  document.addEventListener("DOMContentLoaded", () => {
    for (const choice of document.querySelectorAll('input[name="theme"]')) {
      choice.checked = choice.value === (root.dataset.theme ?? "");
    }
  });
})();
