"use strict";

/* The light, dark or system theme. Runs in the head, before the first paint, so that no page flashes in the wrong colours.
   The choice is stored in this browser only. */
(() => {
  const KEY = "theme";
  const root = document.documentElement;

  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // Storage is disabled, so use the system theme.
    }
  };

  const apply = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };

  // CSS uses this class to show the controls that need script.
  root.classList.add("js");
  apply(read());

  document.addEventListener("change", (event) => {
    if (event.target.name !== "theme") return;
    apply(event.target.value);
    try {
      if (event.target.value) localStorage.setItem(KEY, event.target.value);
      else localStorage.removeItem(KEY);
    } catch {
      // Without storage the choice lasts until the next page.
    }
  });

  // The theme was changed in another tab.
  addEventListener("storage", (event) => {
    if (event.key === KEY) apply(event.newValue);
  });

  document.addEventListener("DOMContentLoaded", () => {
    for (const choice of document.querySelectorAll('input[name="theme"]')) {
      choice.checked = choice.value === (root.dataset.theme ?? "");
    }
  });
})();
