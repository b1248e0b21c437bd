"use strict";

/* The form to report an answer opens below it: the focus goes in, Escape and Cancel bring it back. */
(() => {
  const thread = document.getElementById("thread");

  thread.addEventListener("htmx:after:swap", () => {
    const fresh = thread.querySelector(".report:not([data-seen])");
    if (!fresh) return;
    fresh.dataset.seen = "";
    const problem = fresh.querySelector("[aria-invalid], [role=alert]");
    const target = problem?.closest(".field")?.querySelector("textarea, input") ?? fresh.querySelector(".report__title") ?? fresh;
    target.focus({ preventScroll: true });
    fresh.scrollIntoView({ block: "nearest" });
  });

  const close = (form) => {
    form.parentElement.replaceChildren();
    document.getElementById(form.dataset.opener)?.focus({ preventScroll: true });
  };

  thread.addEventListener("click", (event) => {
    const cancel = event.target.closest("[data-close-report]");
    if (cancel) {
      event.preventDefault();
      close(cancel.closest(".report"));
      return;
    }
    const opener = event.target.closest(".status__report");
    const form = opener && thread.querySelector(`[data-opener="${opener.id}"]`);
    if (form) {
      // Pressed again, it closes what it opened.
      event.preventDefault();
      event.stopImmediatePropagation();
      close(form);
    }
  }, true);

  thread.addEventListener("keydown", (event) => {
    // A link that acts as a button answers to the space bar too.
    if (event.key === " " && event.target.matches(".status__report")) {
      event.preventDefault();
      event.target.click();
    }
    const form = event.key === "Escape" && event.target.closest("form.report");
    if (form) close(form);
  });
})();
