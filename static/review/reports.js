"use strict";

/* Reports, in the chat and on their own pages: moves focus to the form below an answer and back, counts characters, and
   shows server errors without losing what was typed. */
(() => {
  const byId = (id) => document.getElementById(id);
  const words = byId("chat")?.dataset;
  const hasKeyboard = matchMedia("(hover: hover) and (pointer: fine)").matches;

  // --- Character counters. Nothing is cut off: the server rejects text that is too long and returns it. ---

  const count = (field) => {
    const limit = Number(field.dataset.maxChars);
    // Count as the server does: Unicode characters, without surrounding whitespace.
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

  /** Scroll only the message list to bring the element into view, aligned to its top if it is too tall. */
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
      // Pressing the button again closes the form.
      event.preventDefault();
      event.stopImmediatePropagation();
      close(form);
    }
  }, true);

  byId("thread").addEventListener("keydown", (event) => {
    // Leave both keys to an input method that is composing text. Safari signals this only by the key code.
    if (event.isComposing || event.keyCode === 229) return;
    // A link with the button role must respond to the space bar too.
    if (event.key === " " && event.target.matches(".status__report")) {
      event.preventDefault();
      event.target.click();
    }
    const form = event.key === "Escape" && event.target.closest("form.report");
    if (form) close(form);
  });

  // --- Notices from staff and the site ---

  /** Move focus to the next notice, or else to the composer, after the focused notice has been removed. */
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

  // Screen readers announce a live region only when it changes after the page has loaded.
  const lines = Array.from(document.querySelectorAll(".flash__text"), (line) => line.textContent);
  if (lines.length) setTimeout(() => { byId("announce").textContent = lines.join(" "); }, 500);

  // --- Server responses ---

  document.addEventListener("htmx:after:swap", () => {
    const fresh = document.querySelector("#thread .report:not([data-seen])");
    if (fresh) enter(fresh);
    const told = byId("told");
    if (told && document.activeElement === document.body) goOn();
  });

  const unsay = (box) => box?.querySelector(".went-wrong")?.remove();

  /** Show an error next to the control that failed, or else next to the composer. */
  const complain = (source, text) => {
    const box = source.closest("form.report, .message, .account-notice, .earlier");
    if (!box) {
      const line = document.createElement("span");
      line.textContent = text;
      byId("composer-error").replaceChildren(line);
      return;
    }
    unsay(box);
    const line = document.createElement("p");
    line.className = "notice notice--error went-wrong";
    line.setAttribute("role", "alert");
    line.textContent = text;
    (box.querySelector(":scope > .report-place") ?? box).prepend(line);
    if (byId("scroller").contains(line)) show(line);
  };

  // Don't insert an error page or the sign-in page into this one.
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

  // A new conversation changes the address after the page was loaded.
  byId("report-application")?.addEventListener("click", ({ currentTarget: link }) => {
    const url = new URL(link.href);
    url.searchParams.set("page", location.pathname);
    link.href = url;
  });
})();
