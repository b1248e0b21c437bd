"use strict";

/* Reports, on the chat's page and on their own: the form below an answer takes the focus and gives it back, characters are
   counted, and what the server could not do is said without losing what was typed. */
(() => {
  const byId = (id) => document.getElementById(id);
  const words = byId("chat")?.dataset;
  const hasKeyboard = matchMedia("(hover: hover) and (pointer: fine)").matches;

  // --- How long a text is. Nothing is cut off: the server refuses what is too long, and gives it back. ---

  const count = (field) => {
    const limit = Number(field.dataset.maxChars);
    // As the server counts: characters of Unicode, without the space around them.
    const length = Array.from(field.value.trim()).length;
    const counter = byId(`${field.id}-count`);
    const [now, most] = [length, limit].map((number) => number.toLocaleString(document.documentElement.lang));
    counter.textContent = length ? `${now} / ${most}` : "";
    counter.classList.toggle("report__count--over", length > limit);
    if (length > limit) field.setAttribute("aria-invalid", "true");
    else if (!byId(`${field.id}-error`)) field.removeAttribute("aria-invalid");
  };

  const countIn = (root) => root.querySelectorAll("textarea[data-max-chars]").forEach(count);

  document.addEventListener("input", ({ target }) => {
    if (target.matches("textarea[data-max-chars]")) count(target);
  });

  countIn(document);
  if (!words) return;

  // --- The form below an answer ---

  const close = (form) => {
    form.parentElement.replaceChildren();
    byId(form.dataset.opener)?.focus({ preventScroll: true });
  };

  /** Scroll the messages, and nothing around them, so that this is in view: from its beginning if it is too high. */
  const show = (element) => {
    const scroller = byId("scroller");
    const [box, view] = [element, scroller].map((one) => one.getBoundingClientRect());
    if (box.top < view.top || box.height > view.height) scroller.scrollTop += box.top - view.top;
    else if (box.bottom > view.bottom) scroller.scrollTop += box.bottom - view.bottom;
  };

  const enter = (fresh) => {
    fresh.dataset.seen = "";
    countIn(fresh);
    const problem = fresh.querySelector("[aria-invalid], [role=alert]");
    const target = problem?.closest(".field")?.querySelector("textarea, input") ?? fresh.querySelector(".report__title") ?? fresh;
    target.focus({ preventScroll: true });
    show(problem?.closest(".field") ?? fresh);
  };

  byId("thread").addEventListener("click", (event) => {
    const cancel = event.target.closest("[data-close-report]");
    if (cancel) {
      event.preventDefault();
      close(cancel.closest(".report"));
      return;
    }
    const opener = event.target.closest(".status__report");
    const form = opener && document.querySelector(`[data-opener="${opener.id}"]`);
    if (form) {
      // Pressed again, it closes what it opened.
      event.preventDefault();
      event.stopImmediatePropagation();
      close(form);
    }
  }, true);

  byId("thread").addEventListener("keydown", (event) => {
    // Both keys belong to the input method while it offers characters; Safari tells that by the key code alone.
    if (event.isComposing || event.keyCode === 229) return;
    // A link that acts as a button answers to the space bar too.
    if (event.key === " " && event.target.matches(".status__report")) {
      event.preventDefault();
      event.target.click();
    }
    const form = event.key === "Escape" && event.target.closest("form.report");
    if (form) close(form);
  });

  // --- What staff and the site tell ---

  /** Go on to the next thing to read, or to where one writes, when a button went away with what it was in. */
  const goOn = () => {
    const told = byId("told");
    const next = told?.querySelector("button:not([hidden])") ?? byId(hasKeyboard ? "text" : "scroller");
    next.focus({ preventScroll: true });
    if (told && !told.firstElementChild) told.remove();
  };

  for (const button of document.querySelectorAll("[data-dismiss]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      button.parentElement.remove();
      goOn();
    });
  }

  // A screen reader says only what comes after the page.
  const lines = Array.from(document.querySelectorAll(".flash__text"), (line) => line.textContent);
  if (lines.length) setTimeout(() => { byId("announce").textContent = lines.join(" "); }, 500);

  // --- What comes from the server ---

  document.addEventListener("htmx:after:swap", () => {
    const fresh = document.querySelector("#thread .report:not([data-seen])");
    if (fresh) enter(fresh);
    const told = byId("told");
    if (told && document.activeElement === document.body) goOn();
  });

  const unsay = (box) => box?.querySelector(".went-wrong")?.remove();

  /** Say beside what was pressed that it did not work. */
  const complain = (source, text) => {
    const box = source.closest("form.report, .message, .account-notice, .earlier");
    if (!box) return;
    unsay(box);
    const line = document.createElement("p");
    line.className = "notice notice--error went-wrong";
    line.setAttribute("role", "alert");
    line.textContent = text;
    (box.querySelector(":scope > .report-place") ?? box).prepend(line);
    if (byId("scroller").contains(line)) show(line);
  };

  // What comes instead of an answer, such as the page of an error or of the log-in, does not belong into this page.
  document.addEventListener("htmx:before:swap", (event) => {
    const { sourceElement, response } = event.detail.ctx;
    if (!response) return;
    if (response.raw.redirected) complain(sourceElement, words.textSignedOut);
    else if (response.status !== 200 && response.status !== 422) complain(sourceElement, words.textFailed);
    else return unsay(sourceElement.closest(".message, .account-notice, .earlier"));
    event.preventDefault();
  });

  document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
    if (ctx?.request) complain(ctx.sourceElement, words.textFailed);
  });

  // A chat that has just begun has another address than the page was loaded from.
  byId("report-application")?.addEventListener("click", ({ currentTarget: link }) => {
    const url = new URL(link.href);
    url.searchParams.set("page", location.pathname);
    link.href = url;
  });
})();
